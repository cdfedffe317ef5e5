// Moving the installation's clock on request: checks the wish, moves, and tells every pool. Answers when each living
// instance goes by the new time.
import { parseDuration, type Duration } from '../../values/duration.js';
import type { Seconds } from '../../values/moments.js';
import type { FabricClock } from '../pools/fabric-clock.js';
import type { Pool } from '../pools/pool.js';
import { ControlRefusal } from './errors.js';

/** What `trivet clock show` tells. Offsets are seconds ahead of the machine's clock. */
export interface ClockStatus {
  readonly movable: boolean;
  /** ISO 8601, whole seconds. */
  readonly time: string;
  readonly offset: Seconds;
  readonly pools: readonly {
    readonly name: string;
    /** What each instance goes by; null for one that is down or has not said so yet. */
    readonly instances: readonly { readonly id: number; readonly offset: Seconds | null }[];
  }[];
}

export interface ClockParts {
  readonly clock: FabricClock;
  readonly pools: () => readonly Pool[];
  /** Told that the clock was moved. */
  readonly moved: () => void;
  /** How long instances have to confirm. */
  readonly patienceMs: number;
}

export function clockStatus({ clock, pools }: ClockParts): ClockStatus {
  return {
    movable: clock.movable,
    time: new Date(clock.now() * 1_000).toISOString().replace('.000Z', 'Z'),
    offset: clock.offset,
    pools: pools().map((pool) => ({ name: pool.name, instances: pool.clocks() })),
  };
}

/** Moves the clock forward by `wish`, an ISO 8601 duration. */
export async function advanceClock(parts: ClockParts, wish: unknown): Promise<ClockStatus> {
  const { clock, patienceMs } = parts;
  const duration = typeof wish === 'string' ? parseDuration(wish) : undefined;
  if (!duration) {
    throw new ControlRefusal(
      'BadRequest',
      'A duration in the form of ISO 8601 is needed, such as P30D, PT1H or P1Y2M3DT4H. The clock was not moved.',
    );
  }
  if (!clock.movable) {
    throw new ControlRefusal(
      'Conflict',
      'The clock was not moved: only pools that were created with --movable-clock have a clock that can be moved. ' +
        'Make one with: trivet up --movable-clock --data-dir DIRECTORY, on an empty directory.',
    );
  }
  move(clock, duration);
  parts.moved();
  const { offset } = clock;
  const told = parts.pools().map(async (pool) => {
    const instances = await pool.orders.moveClock(offset, patienceMs);
    return instances.map(({ instance, paused }) => ({ pool: pool.name, instance, paused }));
  });
  const silent = (await Promise.all(told)).flat();
  const [first] = silent;
  if (!first) return clockStatus(parts);
  const names = silent.map(
    ({ pool, instance, paused }) => `partition ${instance} of ${pool}${paused ? ' (paused)' : ''}`,
  );
  const named = parts.pools().length > 1 ? `${first.instance} --pool ${first.pool}` : first.instance;
  const toDo = first.paused
    ? `Resume it with: trivet partition resume ${named}, or`
    : 'Wait until it does, or';
  throw new ControlRefusal(
    'NotConfirmed',
    `The clock was moved and stays so, but within ${patienceMs / 1_000} s there was no word from ` +
      `${names.join(', ')}; until it hears of the new time it may go by the old one. ` +
      `${toDo} end it with: trivet partition kill ${named}; then see: trivet clock show. ` +
      'Do not repeat the command: it would move the clock once more.',
  );
}

function move(clock: FabricClock, duration: Duration): void {
  let moved: boolean;
  try {
    moved = clock.advance(duration);
  } catch (cause) {
    // Said to the administrator, whose disk it is.
    throw new ControlRefusal('InternalError', `The clock was not moved: it cannot be kept: ${String(cause)}`);
  }
  if (!moved) throw new ControlRefusal('BadRequest', 'The clock was not moved: it ends with the year 9999.');
}
