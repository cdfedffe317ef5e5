// Shows what the pools cost.
import type { MeterStatus } from '../../fabric/control/meter.js';
import { connect, print } from '../ask.js';

/** Prints what each pool has cost, or only those called `pool`. */
export async function showMeter(
  dataDirectory: string,
  pool: string | undefined,
  json: boolean,
): Promise<void> {
  const shown = (await (await connect(dataDirectory)).call('GET', '/trivet/meter')) as MeterStatus;
  const pools = shown.pools.filter(({ name }) => pool === undefined || name === pool.toLowerCase());
  const total = Number(pools.reduce((sum, { cost }) => sum + cost, 0).toFixed(6));
  const wanted = { ...shown, pools, total };
  print(json ? JSON.stringify(wanted) : text(wanted));
}

function text({ pools, currency, ratePerHour, time }: MeterStatus): string {
  const lines = pools.map(
    ({ name, state, hours, cost, provisioned, purged }) =>
      `${name.padEnd(24)} ${state.padEnd(12)} ${String(hours).padStart(8)} h ${amount(cost).padStart(14)} ${currency}` +
      `  since ${provisioned}${purged === null ? '' : ` until ${purged}`}`,
  );
  return [...lines, `at ${time}; an hour that begins now costs ${amount(ratePerHour)} ${currency}`].join(
    '\n',
  );
}

/** With two decimals, or more where there are more. */
function amount(euro: number): string {
  return euro.toFixed(6).replace(/0{1,4}$/, '');
}
