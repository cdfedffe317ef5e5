// The pool at a glance: picture, charts, partitions, and what is being asked of it.
import type { VNode } from 'preact';
import { Chart } from './chart.js';
import { Faults, useRules } from './faults.js';
import { KINDS, lagOf, type PoolView } from './live.js';
import { Badge, Heading, Notice, Wide } from './parts.js';
import { Picture, stateOf } from './picture.js';
import type { Session } from './session.js';
import type { Instance, Pool } from './shapes.js';
import { boundText, rateText } from './text.js';

const MIB = 1024 * 1024;
const OPERATIONS_MAX = 8;

export function Overview(props: { session: Session; seen: PoolView }): VNode {
  const { session, seen } = props;
  const { pool, figures, samples } = seen;
  const [rules, again] = useRules(session, pool.name);
  const members = pool.instances.filter(({ inSync }) => inSync).length;
  const keys = Math.max(0, ...[...figures.values()].map((one) => one.keys));
  const times = samples.map(({ at }) => at);
  const rate = seen.traffic.reduce((sum, one) => sum + one.rate, 0);
  const lag = Math.max(0, ...pool.instances.map(({ id }) => lagOf(figures, id) ?? 0));
  return (
    <>
      <Heading title={`Pool ${pool.name}`} note={pool.uri}>
        {pool.activation === 'Active' ? (
          <Badge kind="good">active</Badge>
        ) : (
          <Badge kind="busy">waits for its security domain</Badge>
        )}
      </Heading>
      <Standing pool={pool} members={members} />
      <div class="top">
        <section class="card" aria-label="Picture of the pool">
          <Picture seen={seen} />
        </section>
        <dl class="facts">
          <Fact name="In sync" value={`${members} of 3`} />
          <Fact name="Primary" value={primaryOf(pool.instances)} />
          <Fact name="Epoch" value={String(pool.epoch)} />
          <Fact name="Keys" value={figures.size > 0 ? String(keys) : '–'} />
          <Fact name="Operations" value={`${rateText(rate)} /s`} />
          <Fact name="Largest lag" value={String(lag)} />
        </dl>
      </div>
      <section class="charts" aria-label="Charts of the last five minutes">
        <Chart
          title="Operations"
          unit="per second"
          times={times}
          lines={KINDS.map(([label], kind) => ({
            label,
            values: samples.map(({ rates }) => rates[kind] ?? null),
          }))}
          text={(value) => (value === null ? '–' : rateText(value))}
          atLeast={10}
        />
        <Chart
          title="Latency"
          unit="at most, of all operations"
          times={times}
          lines={[
            { label: 'median', values: samples.map(({ median }) => median) },
            { label: '99 %', values: samples.map(({ slowest }) => slowest) },
          ]}
          text={(value) => boundText(value ?? undefined)}
          atLeast={0}
          logarithmic
        />
        <Chart
          title="Replication lag"
          unit="changes behind the newest"
          times={times}
          lines={pool.instances.map(({ id }, place) => ({
            label: `partition ${id}`,
            values: samples.map(({ lags }) => lags[place] ?? null),
          }))}
          text={(value) => (value === null ? '–' : String(value))}
          atLeast={4}
        />
      </section>
      <Partitions seen={seen} />
      <Operations seen={seen} />
      {rules && <Faults session={session} pool={pool} rules={rules} again={again} />}
    </>
  );
}

/** Of a pool before its first ceremony. */
export function NotActive(): VNode {
  return (
    <Notice kind="hint" title="This pool is not active yet.">
      <p>
        It answers nothing but the calls of the ceremony. <a href="#/domain">Security domain</a> says what to
        do.
      </p>
    </Notice>
  );
}

function Standing(props: { pool: Pool; members: number }): VNode | null {
  const { members } = props;
  const { activation, instances } = props.pool;
  if (activation !== 'Active') return <NotActive />;
  if (members === 3) return null;
  if (members === 2) {
    return (
      <Notice kind="hint" title="One partition is away.">
        <p>
          Everything goes on with two;{' '}
          {instances.some(({ unplugged }) => unplugged)
            ? 'it was unplugged, and stays away until it is plugged in again.'
            : 'it comes back by itself.'}
        </p>
      </Notice>
    );
  }
  return (
    <Notice
      kind="problem"
      title={members === 1 ? 'Only one partition is left in sync.' : 'No partition is in sync.'}
    >
      <p>
        {members === 1
          ? 'Reads and cryptography go on; changes are refused until a second one is back.'
          : 'Nothing is answered until one is back. trivet doctor says what stands in the way.'}
      </p>
    </Notice>
  );
}

function Fact(props: { name: string; value: string }): VNode {
  return (
    <div>
      <dt>{props.name}</dt>
      <dd>{props.value}</dd>
    </div>
  );
}

function primaryOf(instances: readonly Instance[]): string {
  const primary = instances.find(({ role }) => role === 'primary');
  return primary ? `partition ${primary.id}` : 'none';
}

function Partitions(props: { seen: PoolView }): VNode {
  const { pool, figures } = props.seen;
  return (
    <section class="card" aria-labelledby="partitions-title">
      <h2 id="partitions-title">Partitions</h2>
      <Wide label="Partitions">
        <table class="thin">
          <thead>
            <tr>
              <th scope="col">Partition</th>
              <th scope="col">State</th>
              <th scope="col">Role</th>
              <th scope="col" class="count">
                Lag
              </th>
              <th scope="col" class="count">
                Undecided
              </th>
              <th scope="col" class="count">
                Clients
              </th>
              <th scope="col" class="count">
                Open keys
              </th>
              <th scope="col" class="count">
                Memory
              </th>
              <th scope="col" class="count">
                Restarts
              </th>
              <th scope="col">How it ended last</th>
            </tr>
          </thead>
          <tbody>
            {pool.instances.map((instance) => {
              const own = figures.get(instance.id);
              const state = stateOf(instance);
              return (
                <tr key={instance.id}>
                  <th scope="row">{instance.id}</th>
                  <td>
                    <Badge kind={state.kind}>{state.word}</Badge>
                  </td>
                  <td>{instance.role}</td>
                  <td class="count">{lagOf(figures, instance.id) ?? '–'}</td>
                  <td class="count">{own?.undecided ?? '–'}</td>
                  <td class="count">{own?.connections ?? '–'}</td>
                  <td class="count">{own?.openKeys ?? '–'}</td>
                  <td class="count">{own ? `${Math.round(own.residentBytes / MIB)} MiB` : '–'}</td>
                  <td class="count">{instance.restarts}</td>
                  <td class="reason">{instance.reason ?? '–'}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </Wide>
    </section>
  );
}

function Operations(props: { seen: PoolView }): VNode {
  const busy = props.seen.traffic.filter(({ rate }) => rate > 0).slice(0, OPERATIONS_MAX);
  return (
    <section class="card" aria-labelledby="operations-title">
      <h2 id="operations-title">Operations now</h2>
      {busy.length === 0 ? (
        <p class="note">
          Nothing is being asked of this pool. Point a client at {props.seen.pool.uri}, or run{' '}
          <code>trivet bench</code>.
        </p>
      ) : (
        <Wide label="Operations now">
          <table class="thin">
            <thead>
              <tr>
                <th scope="col">Operation</th>
                <th scope="col" class="count">
                  Per second
                </th>
                <th scope="col" class="count">
                  Median
                </th>
                <th scope="col" class="count">
                  99 %
                </th>
                <th scope="col" class="count">
                  Refused /s
                </th>
                <th scope="col" class="count">
                  Failed /s
                </th>
              </tr>
            </thead>
            <tbody>
              {busy.map((one) => (
                <tr key={one.operation}>
                  <th scope="row">{one.operation}</th>
                  <td class="count">{rateText(one.rate)}</td>
                  <td class="count">{boundText(one.median)}</td>
                  <td class="count">{boundText(one.slowest1Percent)}</td>
                  <td class="count">{rateText(one.refused)}</td>
                  <td class="count">{rateText(one.failed)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Wide>
      )}
    </section>
  );
}
