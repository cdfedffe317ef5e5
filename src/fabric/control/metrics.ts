// What Prometheus reads: how the pools are, as the fabric sees it, and what their instances count of themselves. Asked
// for anew at each scrape and kept nowhere. Holds no name of a key and no caller.
import { AggregatorRegistry } from 'prom-client';
import { BUCKETS } from '../../values/figures.js';
import type { InstanceFigures } from '../../values/figures.js';
import type { Pool } from '../pools/pool.js';

/** How long an instance has to say what it counts, in milliseconds; a scrape goes on without it. */
const PATIENCE_MS = 1_000;
const REASON_MAX = 200;

type Labels = Readonly<Record<string, string | number>>;

interface Sample {
  readonly labels: Labels;
  readonly value: number;
  /** Where it differs from the family's: the parts of a histogram. */
  readonly metricName?: string;
}

interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'gauge' | 'counter' | 'histogram';
  readonly values: Sample[];
  readonly aggregator: 'sum';
}

export type MeasuredPool = Pick<Pool, 'status' | 'care' | 'figures'>;

/** The answer to a scrape, in the text form of Prometheus, and its content type. */
export async function scrape(pools: readonly MeasuredPool[]): Promise<{ text: string; type: string }> {
  const families = await Promise.all(pools.map(familiesOf));
  const registry = AggregatorRegistry.aggregate(families);
  return { text: await registry.metrics(), type: registry.contentType };
}

async function familiesOf(pool: MeasuredPool): Promise<Family[]> {
  const said = await pool.figures(PATIENCE_MS);
  const { name, epoch, activation, instances } = pool.status();
  const care = pool.care();
  const each = (value: (place: (typeof instances)[number]) => number): Sample[] =>
    instances.map((place) => ({ labels: { pool: name, instance: place.id }, value: value(place) }));
  const ofCare = (value: (place: (typeof care)[number]) => number): Sample[] =>
    care.map((place, instance) => ({ labels: { pool: name, instance }, value: value(place) }));
  const ofFigures = (value: (figures: InstanceFigures) => number): Sample[] =>
    said.map(({ instance, figures }) => ({ labels: { pool: name, instance }, value: value(figures) }));
  const newest = Math.max(0, ...said.map(({ figures }) => figures.committed));
  return [
    gauge('trivet_pool_epoch', 'Number of the present view; it rises with every change of who takes part', [
      { labels: { pool: name }, value: epoch },
    ]),
    gauge('trivet_pool_activated', '1 once the pool has its security domain', [
      { labels: { pool: name }, value: activation === 'Active' ? 1 : 0 },
    ]),
    gauge('trivet_pool_in_sync', 'Instances that hold every acknowledged change; 3 when all is well', [
      { labels: { pool: name }, value: instances.filter(({ inSync }) => inSync).length },
    ]),
    gauge('trivet_instance_up', '1 while the instance serves requests', each(isUp)),
    gauge('trivet_instance_in_sync', '1 while nothing is acknowledged without the instance', each(isInSync)),
    gauge('trivet_instance_primary', '1 for the instance that orders the changes', each(isPrimary)),
    gauge(
      'trivet_instance_down_info',
      'Present while an instance is away; why, in its label',
      instances.flatMap(({ id, reason }) =>
        reason === undefined
          ? []
          : [{ labels: { pool: name, instance: id, reason: reason.slice(0, REASON_MAX) }, value: 1 }],
      ),
    ),
    counter(
      'trivet_instance_ends_total',
      'Times that an instance was lost',
      ofCare(({ ends }) => ends),
    ),
    counter(
      'trivet_instance_starts_again_total',
      'Times that an instance was started again; far above the ends that healed: it fails again and again',
      each(({ restarts }) => restarts),
    ),
    counter(
      'trivet_instance_heals_total',
      'Times that a lost instance was in sync again',
      ofCare(({ heals }) => heals),
    ),
    counter(
      'trivet_instance_heal_seconds_total',
      'Time from the loss of an instance until it was in sync again, all together',
      ofCare(({ healSeconds }) => healSeconds),
    ),
    counter(
      'trivet_requests_total',
      'Requests that were answered, by operation and result (success, refused: 4xx, failed: 5xx)',
      said.flatMap(({ instance, figures }) =>
        figures.requests.map(({ operation, result, count }) => ({
          labels: { pool: name, instance, operation, result },
          value: count,
        })),
      ),
    ),
    {
      name: 'trivet_request_duration_seconds',
      help: 'Time from the head of a request to its answer, inside the instance',
      type: 'histogram',
      values: said.flatMap((one) => durations(name, one)),
      aggregator: 'sum',
    },
    gauge(
      'trivet_connections',
      'Open connections of clients',
      ofFigures(({ connections }) => connections),
    ),
    gauge('trivet_committed_index', 'Index of the newest committed change', ofFigures(committed)),
    gauge(
      'trivet_replication_lag_entries',
      'Committed changes that the newest instance has and this one has still to apply',
      ofFigures((figures) => newest - figures.committed),
    ),
    gauge('trivet_undecided_entries', 'Changes in the log, not committed yet', ofFigures(undecided)),
    gauge(
      'trivet_keys',
      'Keys, without those that are deleted',
      ofFigures(({ keys }) => keys),
    ),
    gauge(
      'trivet_open_keys',
      'Keys that are open in the slot',
      ofFigures(({ openKeys }) => openKeys),
    ),
    gauge(
      'trivet_store_bytes',
      'State and log on the disk',
      ofFigures(({ storeBytes }) => storeBytes),
    ),
    gauge(
      'trivet_audit_bytes',
      'Audit log on the disk',
      ofFigures(({ auditBytes }) => auditBytes),
    ),
    counter('trivet_cpu_seconds_total', 'Processor time of the instance', ofFigures(cpu)),
    gauge(
      'trivet_resident_bytes',
      'Memory of the instance',
      ofFigures(({ residentBytes }) => residentBytes),
    ),
  ];
}

const isUp = ({ role }: { readonly role: string }): number =>
  role === 'primary' || role === 'backup' ? 1 : 0;
const isInSync = ({ inSync }: { readonly inSync: boolean }): number => (inSync ? 1 : 0);
const isPrimary = ({ role }: { readonly role: string }): number => (role === 'primary' ? 1 : 0);
const committed = (figures: InstanceFigures): number => figures.committed;
const undecided = (figures: InstanceFigures): number => figures.undecided;
const cpu = (figures: InstanceFigures): number => figures.cpuSeconds;

function durations(
  pool: string,
  { instance, figures }: { readonly instance: number; readonly figures: InstanceFigures },
): Sample[] {
  const metric = 'trivet_request_duration_seconds';
  return figures.requests.flatMap(({ operation, result, count, seconds, buckets }) => {
    const labels = { pool, instance, operation, result };
    return [
      ...BUCKETS.map((le, place) => ({
        labels: { ...labels, le },
        value: buckets[place] ?? 0,
        metricName: `${metric}_bucket`,
      })),
      { labels: { ...labels, le: '+Inf' }, value: count, metricName: `${metric}_bucket` },
      { labels, value: seconds, metricName: `${metric}_sum` },
      { labels, value: count, metricName: `${metric}_count` },
    ];
  });
}

function gauge(name: string, help: string, values: Sample[]): Family {
  return { name, help, type: 'gauge', values, aggregator: 'sum' };
}

function counter(name: string, help: string, values: Sample[]): Family {
  return { name, help, type: 'counter', values, aggregator: 'sum' };
}
