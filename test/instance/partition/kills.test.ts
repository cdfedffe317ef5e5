// A process with a partition is killed at random moments: while it makes its token, opens it, serves, and while the
// module is recycled. The next one opens the same token, and the key that the first one sealed.
import { fork } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { SealedKey } from '../../../src/values/key-spec.js';
import { makeDirectory, removeDirectories } from './places.js';
import { modulePath } from './place.js';

const KILLS = Number(process.env['TRIVET_KILLS'] ?? 30);
/** A start takes about a quarter of a second here; the moments are spread over more than that. */
const MOMENT_MS_MAX = 400;
const program = join(__dirname, 'programs', 'live.cjs');

afterEach(removeDirectories);

interface Life {
  /** The known key, opened or made; absent when it was killed before. */
  readonly opened: SealedKey | undefined;
  readonly failed: string | undefined;
}

/** Lives for so long, or until a while after it has opened. */
async function live(path: string, known: SealedKey | undefined, moment: number | 'open'): Promise<Life> {
  const child = fork(program, [path, modulePath], { serialization: 'advanced', execArgv: [] });
  const exit = once(child, 'exit');
  let opened: SealedKey | undefined;
  let failed: string | undefined;
  const timer = moment === 'open' ? undefined : setTimeout(() => child.kill('SIGKILL'), moment);
  child.on('message', (message: { open?: SealedKey; failed?: string }) => {
    opened = message.open;
    failed = message.failed;
    if (moment === 'open' || failed !== undefined) child.kill('SIGKILL');
  });
  child.send({ known });
  await exit;
  clearTimeout(timer);
  return { opened, failed };
}

test(
  'partition: no kill costs the token',
  async () => {
    const path = makeDirectory();
    let known: SealedKey | undefined;
    const moments: (number | 'open')[] = [];
    for (let kill = 0; kill < KILLS; kill += 1) {
      // The first ones mostly hit the making of the token.
      moments.push(kill % 10 === 9 ? 'open' : randomInt(MOMENT_MS_MAX));
      const { opened, failed } = await live(path, known, moments.at(-1) ?? 'open');
      expect({ moments, failed }).toEqual({ moments, failed: undefined });
      if (moments.at(-1) === 'open') expect(opened).toBeDefined();
      known ??= opened;
    }
    expect((await live(path, known, 'open')).opened).toEqual(known);
    expect(readdirSync(join(path, 'golden'))).toHaveLength(1);
  },
  10 * 60_000,
);
