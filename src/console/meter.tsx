// What the pools cost, by the meter of the control plane.
import type { VNode } from 'preact';
import { Badge, Heading, Notice, Refusal, useAsked, Waiting, Wide } from './parts.js';
import { askControl, type Session } from './session.js';
import type { Meter } from './shapes.js';

export function MeterView(props: { session: Session }): VNode {
  const { session } = props;
  const { value, problem, again } = useAsked(() => askControl<Meter>(session, '/trivet/meter'), [session]);
  if (problem) return <Refusal title="Meter" error={problem} what="The meter" again={again} />;
  if (!value) return <Waiting what="the meter" />;
  const { pools, total, currency, ratePerHour, time } = value;
  const money = (amount: number): string => `${amount.toFixed(2)} ${currency}`;
  return (
    <>
      <Heading
        title="Meter"
        note={`${money(ratePerHour)} for each started hour of a pool; as of ${day(time)} UTC`}
      >
        <button type="button" onClick={again}>
          Refresh
        </button>
      </Heading>
      {pools.length === 0 ? (
        <Notice kind="hint" title="Nothing was charged yet." />
      ) : (
        <section class="card" aria-label="Charges">
          <Wide label="Charges">
            <table>
              <thead>
                <tr>
                  <th scope="col">Pool</th>
                  <th scope="col">State</th>
                  <th scope="col">Since</th>
                  <th scope="col">Until</th>
                  <th scope="col" class="count">
                    Hours
                  </th>
                  <th scope="col" class="count">
                    Cost
                  </th>
                </tr>
              </thead>
              <tbody>
                {pools.map((pool) => (
                  <tr key={`${pool.name} ${pool.provisioned}`}>
                    <th scope="row">{pool.name}</th>
                    <td>
                      <Badge kind={pool.state === 'Provisioned' ? 'good' : 'plain'}>{pool.state}</Badge>
                    </td>
                    <td>{day(pool.provisioned)}</td>
                    <td>{pool.purged === null ? '–' : day(pool.purged)}</td>
                    <td class="count">{pool.hours}</td>
                    <td class="count">{money(pool.cost)}</td>
                  </tr>
                ))}
              </tbody>
              <tfoot>
                <tr>
                  <th scope="row" colSpan={5}>
                    Total
                  </th>
                  <td class="count">{money(total)}</td>
                </tr>
              </tfoot>
            </table>
          </Wide>
        </section>
      )}
    </>
  );
}

function day(time: string): string {
  return time.slice(0, 16).replace('T', ' ');
}
