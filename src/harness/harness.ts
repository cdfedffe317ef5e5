// `trivet/harness`: a pool for tests, from any test runner. Founds or copies one in a private directory on free ports,
// gives what clients need, does harm on request, and leaves nothing behind. Speaks to the pool like any customer.
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FaultRule } from '../values/faults.js';
import { HarnessError } from './error.js';
import { makeHome } from './home.js';
import { Pool, type PoolParts } from './pool.js';
import { copyTemplate } from './template.js';
import { Up } from './up.js';

export { HarnessError } from './error.js';
export { Pool, Faults, Partition } from './pool.js';
export type { Advanced, FaultsShown, PrincipalWish, RequestOptions, RoleWish } from './pool.js';
export { Principal } from './principal.js';
export type { ClientOptions, Credential, CredentialOptions } from './principal.js';
export type { AuditRecord } from './audit.js';
export type { Answer } from './https.js';
export type { PartitionStatus, PoolStatus } from './up.js';
export type { FaultRule, HttpError, Latency, SlotFault, Throttle } from '../values/faults.js';

export interface PoolOptions {
  /** 3..24 letters, digits and single hyphens; `dev` when absent. */
  readonly name?: string;
  /** False: the pool goes by the machine's clock, and `clock.advance` is refused. */
  readonly movableClock?: boolean;
  /** False: the pool is made like one in service, and `faults` are refused. */
  readonly faults?: boolean;
  /** `published`: operations are no quicker than the figures that Microsoft publishes; as quick as it can when absent. */
  readonly performance?: 'published';
  /** False: the pool waits for its security domain. */
  readonly activate?: boolean;
  /**
   * A directory in which a founded pool is kept and copied from, which makes a start some seconds shorter. It is made
   * when there is none, and yours to remove. All pools of one template have the same keys and secrets, so none of them
   * may hold what another must not see. Absent: every pool is founded anew.
   */
  readonly template?: string;
  /** Where the pool's private directory is made; the system's temporary directory when absent. */
  readonly temporaryDirectory?: string;
  /** Start a blob service beside the pool, for backups (azurite). */
  readonly storage?: boolean;
  /** Path of the PKCS#11 module; TRIVET_PKCS11_MODULE or SoftHSM2 when absent. */
  readonly module?: string;
  /** Further options of `trivet up`. */
  readonly upOptions?: readonly string[];
  /** How long it may take to be ready, in milliseconds; 60 s when absent. */
  readonly startMsMax?: number;
}

const START_MS_MAX = 60_000;

/**
 * Starts a pool that is this caller's alone; resolves when all three partitions serve. Close it: what it has is in a
 * private directory under the system's temporary one. It also ends when this process does.
 * @throws HarnessError with what to do, and nothing is left.
 */
export async function startPool(options: PoolOptions = {}): Promise<Pool> {
  const founding = foundingOptions(options);
  const home = makeHome(options.temporaryDirectory ?? tmpdir());
  const patienceMs = options.startMsMax ?? START_MS_MAX;
  const running = options.storage === true ? ['--storage'] : [];
  const directory = join(home, 'data');
  try {
    if (options.template !== undefined) {
      await copyTemplate(options.template, founding, directory, async (place) => {
        const { up } = await Up.start(place, join(home, 'template.json'), founding, patienceMs);
        await up.stop();
      });
    }
    const { up, ready } = await Up.start(
      directory,
      join(home, 'ready.json'),
      [...founding, ...running],
      patienceMs,
    );
    try {
      return await poolOf({ home, directory, ready, up }, options);
    } catch (error) {
      await up.kill();
      throw error;
    }
  } catch (error) {
    await rm(home, { recursive: true, force: true });
    throw error;
  }
}

async function poolOf(
  parts: Pick<PoolParts, 'home' | 'directory' | 'ready' | 'up'>,
  { performance }: PoolOptions,
): Promise<Pool> {
  const profile: FaultRule[] = performance === undefined ? [] : [{ performance }];
  const pool = new Pool({ ...parts, ca: readFileSync(parts.ready.caFile, 'utf8'), profile });
  if (profile.length > 0) await pool.faults.clear();
  return pool;
}

/** What is decided when a pool is made. */
function foundingOptions(options: PoolOptions): string[] {
  const { faults = true, movableClock = true, activate = true, name, module, upOptions = [] } = options;
  if (options.performance !== undefined && !faults) {
    throw new HarnessError('a performance profile needs faults: leave out faults: false');
  }
  return [
    ...(name === undefined ? [] : ['--pool', name]),
    ...(movableClock ? ['--movable-clock'] : []),
    ...(faults ? ['--faults'] : []),
    ...(activate ? [] : ['--no-activate']),
    ...(module === undefined ? [] : ['--module', module]),
    ...upOptions,
  ];
}
