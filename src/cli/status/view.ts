// What the live view shows, as lines of text: two looks at the pools, and what happened between them. Pure; knows no
// terminal and no clock.
import type { FabricFigures, FabricStatus } from '../../fabric/control/management.js';
import type { InstanceStatus, PoolStatus } from '../../fabric/pools/pool.js';
import type { InstanceFigures } from '../../values/figures.js';
import { trafficBetween, type Traffic } from '../../values/traffic.js';

/** One look. */
export interface Look {
  /** Milliseconds, of a clock that only goes forward. */
  readonly atMs: number;
  readonly status: FabricStatus;
  readonly figures: FabricFigures;
  /** What the pools cost; undefined where nobody counts it. */
  readonly meter: Meter | undefined;
}

/** What a meter answers, as far as it is shown. */
export interface Meter {
  readonly currency: string;
  readonly pools: readonly { readonly name: string; readonly cost: number }[];
}

const OPERATIONS_MAX = 8;
const MIB = 1024 * 1024;

/** The lines of the view; without a look before, rates are not known yet. */
export function view(before: Look | undefined, now: Look): string[] {
  return now.status.pools.flatMap((pool, place) => [
    ...(place === 0 ? [] : ['']),
    ...poolLines(pool, before, now),
  ]);
}

function poolLines(pool: PoolStatus, before: Look | undefined, now: Look): string[] {
  const figures = figuresOf(now, pool.name);
  const earlier = before && figuresOf(before, pool.name);
  const seconds = before === undefined ? 0 : (now.atMs - before.atMs) / 1_000;
  const newest = Math.max(0, ...[...figures.values()].map(({ committed }) => committed));
  const keys = Math.max(0, ...[...figures.values()].map((one) => one.keys));
  const traffic = earlier && seconds > 0 ? trafficBetween(earlier, figures, seconds) : undefined;
  const cost = now.meter?.pools.find(({ name }) => name === pool.name)?.cost;
  const facts = [
    `pool ${pool.name}`,
    pool.uri,
    pool.activation,
    `epoch ${pool.epoch}`,
    figures.size > 0 ? `${keys} keys` : '? keys',
    traffic ? `${rateText(sumOf(traffic.map(({ rate }) => rate)))} operations/s` : '',
    cost === undefined ? '' : `cost ${cost.toFixed(2)} ${now.meter?.currency ?? ''}`,
  ];
  const rows = pool.instances.map((instance) => {
    const own = figures.get(instance.id);
    const was = earlier?.get(instance.id);
    return [
      String(instance.id),
      instance.paused ? 'paused' : instance.unplugged ? 'unplugged' : instance.role,
      instance.inSync ? 'yes' : 'no',
      own ? String(newest - own.committed) : '-',
      own ? String(own.undecided) : '-',
      own && was && seconds > 0 ? rateText(Math.max(0, requestsOf(own) - requestsOf(was)) / seconds) : '-',
      own ? String(own.connections) : '-',
      own ? String(own.openKeys) : '-',
      own && was && seconds > 0
        ? `${Math.round((100 * (own.cpuSeconds - was.cpuSeconds)) / seconds)} %`
        : '-',
      own ? `${Math.round(own.residentBytes / MIB)} MiB` : '-',
      String(instance.restarts),
      wordsOf(instance),
    ];
  });
  const head = [
    'partition',
    'role',
    'in sync',
    'lag',
    'undecided',
    'ops/s',
    'clients',
    'open keys',
    'CPU',
    'memory',
    'restarts',
    '',
  ];
  return [
    facts.filter((fact) => fact !== '').join('  '),
    ...table([head, ...rows]),
    ...trafficLines(traffic),
  ];
}

function wordsOf({ role, joining, reason }: InstanceStatus): string {
  if (role === 'down') return `down: ${reason ?? ''}`;
  if (joining) {
    return `${joining.phase} ${joining.done}${joining.total > 0 ? ` of ${joining.total}` : ''}`;
  }
  return reason === undefined ? '' : `before: ${reason}`;
}

function trafficLines(traffic: readonly Traffic[] | undefined): string[] {
  const busy = (traffic ?? []).filter(({ rate }) => rate > 0).slice(0, OPERATIONS_MAX);
  if (busy.length === 0) return [];
  const rows = busy.map(({ operation, rate, refused, failed, median, slowest1Percent }) => [
    operation,
    rateText(rate),
    timeText(median),
    timeText(slowest1Percent),
    rateText(refused),
    rateText(failed),
  ]);
  return ['', ...table([['operation', 'ops/s', 'median', '99 %', 'refused/s', 'failed/s'], ...rows])];
}

function figuresOf(look: Look, pool: string): ReadonlyMap<number, InstanceFigures> {
  const said = look.figures.pools.find(({ name }) => name === pool)?.instances ?? [];
  return new Map(said.map(({ instance, figures }) => [instance, figures]));
}

function requestsOf({ requests }: InstanceFigures): number {
  return sumOf(requests.map(({ count }) => count));
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

function rateText(rate: number): string {
  return rate > 0 && rate < 10 ? rate.toFixed(1) : String(Math.round(rate));
}

function timeText(seconds: number | undefined): string {
  return seconds === undefined ? '-' : `≤ ${seconds * 1_000} ms`;
}

/** Columns of equal width, and nothing at the ends of lines. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    `  ${row.map((word, column) => word.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd(),
  );
}
