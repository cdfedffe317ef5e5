// Who suffers what is asked for: an instance whose pool's state says so, and its slot once it serves.
import { Faults } from '../../../src/instance/faults/faults.js';
import type { FaultRule } from '../../../src/values/faults.js';

const RULES: readonly FaultRule[] = [
  { latency: { kind: 'constant', ms: 5 } },
  { operations: ['KeySign'], error: { rate: 1, pkcs11: 'CKR_DEVICE_ERROR' } },
  { link: { between: [0, 1], cut: true } },
  { fullDisk: { partitions: [0] } },
];
const noSpec = (): undefined => undefined;

function suffering(allowed: () => boolean): Faults {
  const faults = new Faults(0, allowed);
  faults.change({ order: 1, rules: RULES, seed: 1 });
  return faults;
}

const seen = (faults: Faults): unknown[] => [
  faults.request('KeyGet', noSpec),
  faults.link(1).cut,
  faults.diskFull,
  faults.during('KeySign', () => faults.slot()),
];

test('faults: what the pool was not made for is not suffered, whoever asks for it', () => {
  let allowed = false;
  const faults = suffering(() => allowed);
  faults.serve();
  expect(seen(faults)).toEqual([undefined, false, false, undefined]);
  allowed = true;
  expect(seen(faults)).toEqual([{ delayMs: 5 }, true, true, 'CKR_DEVICE_ERROR']);
  faults.change({ order: 2, rules: [], seed: 1 });
  expect(seen(faults)).toEqual([undefined, false, false, undefined]);
});

test('faults: the slot fails from when the instance serves, for the operation that it works for', async () => {
  const faults = suffering(() => true);
  expect(faults.during('KeySign', () => faults.slot())).toBeUndefined();
  faults.serve();
  expect(faults.slot()).toBeUndefined();
  expect(faults.during('KeyGet', () => faults.slot())).toBeUndefined();
  // Also after a wait, beside another.
  const after = async (operation: 'KeySign' | 'KeyGet'): Promise<string | undefined> => {
    await new Promise((resolve) => setImmediate(resolve));
    return faults.during(operation, async () => {
      await new Promise((resolve) => setImmediate(resolve));
      return faults.slot();
    });
  };
  expect(await Promise.all([after('KeySign'), after('KeyGet')])).toEqual(['CKR_DEVICE_ERROR', undefined]);
});
