// The envelope in which a secret goes to the provisioner.
import { randomBytes } from 'node:crypto';
import { closeEnvelope, openEnvelope } from '../../../src/instance/partition/envelope.js';

const pins = { so: 'officer', user: 'person' };
const secret = randomBytes(32);

test('an envelope opens with the PINs that it was closed under, and does not show what is in it', () => {
  const envelope = Buffer.from(closeEnvelope(pins, secret));
  expect(envelope.includes(secret)).toBe(false);
  expect(Buffer.from(openEnvelope(pins, envelope)).equals(secret)).toBe(true);
});

test('two envelopes of one secret have nothing in common: each has a key of its own', () => {
  const [one, other] = [closeEnvelope(pins, secret), closeEnvelope(pins, secret)].map((bytes) =>
    Buffer.from(bytes),
  );
  for (const part of [one?.subarray(0, 32), one?.subarray(48)]) {
    expect(part && other?.includes(part)).toBe(false);
  }
});

test('an envelope does not open with other PINs, when a bit of it was changed, or cut off', () => {
  const envelope = closeEnvelope(pins, secret);
  for (const wrong of [
    { so: 'officer', user: 'nobody' },
    { so: 'person', user: 'officer' },
    { so: 'officer person', user: '' },
  ]) {
    expect(() => openEnvelope(wrong, envelope)).toThrow();
  }
  for (let place = 0; place < envelope.length; place += 1) {
    const changed = Uint8Array.from(envelope);
    changed[place] = (changed[place] ?? 0) ^ (1 << (place % 8));
    expect(() => openEnvelope(pins, changed)).toThrow();
  }
  for (const length of [0, 16, 32, 40, 47, 48, envelope.length - 1]) {
    expect(() => openEnvelope(pins, envelope.subarray(0, length))).toThrow();
  }
});
