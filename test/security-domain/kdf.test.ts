import { deriveBits, deriveItemKey } from '../../src/security-domain/kdf.js';
import { hex, unhex, vectors } from './vectors.js';

test('kdf: the published derivations come out', () => {
  expect(vectors.kdf.cases.length).toBeGreaterThan(0);
  for (const { key, label, context, bits, output } of vectors.kdf.cases) {
    expect([label, hex(deriveBits(unhex(key), label, context, bits))]).toEqual([label, output]);
  }
});

test('kdf: the key of an item is the one that the format says', () => {
  const key = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
  expect(hex(deriveItemKey(key, 'hsm_backup'))).toBe(
    '2d34f55a1dd64e68d793ce19439e032e913bc2c83a99237a33c1bde888fb91da' +
      '91626f37c72aaff2d718d3e7a37f0a39417a66839669da3c76fe4336aec9747c',
  );
});

test('kdf: more than one block, or part of a byte, is not offered', () => {
  for (const bits of [0, 7, 513, 520, 1_024]) {
    expect(() => deriveBits(Buffer.alloc(32), 'a', '', bits)).toThrow('one block');
  }
});
