// A part opens in its place and in no other, whatever else would notice that it is not there.
import { randomBytes } from 'node:crypto';
import {
  derivation,
  openPart,
  sealPart,
  type Attempt,
} from '../../../../src/instance/hsm/full-backup/sealing.js';
import { encode } from '../../../../src/values/cbor.js';

const key = randomBytes(32);
const attempt: Attempt = {
  backup: 'a'.repeat(32),
  attempt: 1,
  salt: 'b'.repeat(64),
  domain: 'c'.repeat(64),
};
const records = [['keys', 'k', Buffer.from('record')]] as const;
/** Longer than a part needs, and not empty. */
const room = (): Buffer => Buffer.alloc(encode(records).length + 100, 1);
const sealed = sealPart(key, attempt, 7, encode(records), room());

it('opens as it was sealed', () => {
  expect(openPart(key, attempt, 7, sealed)).toEqual(records);
});

it.each([
  ['number', attempt, 8],
  ['attempt', { ...attempt, attempt: 2 }, 7],
  ['backup', { ...attempt, backup: 'd'.repeat(32) }, 7],
  ['domain', { ...attempt, domain: 'd'.repeat(64) }, 7],
])('does not open under another %s, even with the same key', (_what, other, number) => {
  expect(() => openPart(key, other, number, sealed)).toThrow(/was changed, or is of another backup/);
});

it('no two parts of an attempt are sealed alike, and keys differ by purpose and by everything that names an attempt', () => {
  expect(sealPart(key, attempt, 8, encode(records), room()).equals(sealed)).toBe(false);
  const names = [
    derivation(attempt, 'parts'),
    derivation(attempt, 'manifest'),
    ...(['backup', 'salt', 'domain'] as const).map((member) =>
      derivation({ ...attempt, [member]: 'd'.repeat(attempt[member].length) }, 'parts'),
    ),
    derivation({ ...attempt, attempt: 2 }, 'parts'),
  ];
  expect(new Set(names.map(String)).size).toBe(names.length);
});
