// The layout of attestations: one encoding for one content, and a parser that takes nothing else.
import fc from 'fast-check';
import {
  attestedAttributes,
  AttestationError,
  parseAttestation,
  toBeSigned,
  type Attested,
} from '../../src/values/attestation.js';
import { padded, readIndependently } from './independent-attestation.js';

const runs = { numRuns: Number(process.env['TRIVET_FUZZ'] ?? 1_000) };
const signature = Buffer.alloc(256, 7);
const blobOf = (attested: Attested): Buffer => Buffer.concat([toBeSigned(attested), signature]);

const values = {
  byte: fc.integer({ min: 0, max: 255 }),
  flag: fc.boolean(),
  text: fc.stringMatching(/^[\x20-\x7e]{1,180}$/),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
};
const anything = fc.record(
  Object.fromEntries(Object.entries(attestedAttributes).map(([name, [, kind]]) => [name, values[kind]])),
  { requiredKeys: [] },
) as fc.Arbitrary<Attested>;

it('another reader finds in it what was put there', () => {
  const attested = {
    label: 'customer_key',
    class: 3,
    sensitive: true,
    ecParams: Buffer.of(1, 2),
    local: false,
  };
  const { attributes } = readIndependently(blobOf(attested));
  expect([...attributes]).toEqual([
    [0x0, '03'],
    [0x3, padded('customer_key')],
    [0x103, '01'],
    [0x163, '00'],
    [0x180, '0102'],
  ]);
});

it('what is made is read back as it was, whatever it is', () => {
  fc.assert(
    fc.property(anything, (attested) => {
      const blob = blobOf(attested);
      readIndependently(blob);
      const parsed = parseAttestation(blob);
      expect(parsed.attested).toEqual(attested);
      expect(parsed.signed.equals(toBeSigned(attested))).toBe(true);
      expect(parsed.signature.equals(signature)).toBe(true);
    }),
    runs,
  );
});

it('a blob with some of it changed, cut or repeated is refused, or is the one encoding of something else', () => {
  const change = fc.record({
    at: fc.nat(),
    bytes: fc.uint8Array({ maxLength: 12 }),
    skip: fc.integer({ min: 0, max: 12 }),
  });
  fc.assert(
    fc.property(anything, fc.array(change, { minLength: 1, maxLength: 3 }), (attested, changes) => {
      let blob = blobOf(attested);
      for (const { at, bytes, skip } of changes) {
        const place = at % (blob.length + 1);
        blob = Buffer.concat([blob.subarray(0, place), bytes, blob.subarray(place + skip)]);
      }
      parsedOrRefused(blob);
    }),
    runs,
  );
});

it('any bytes are refused, or the one encoding of something', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => parsedOrRefused(Buffer.from(bytes))),
    runs,
  );
});

function parsedOrRefused(blob: Buffer): void {
  try {
    const { attested, signed } = parseAttestation(blob);
    expect(toBeSigned(attested).equals(signed)).toBe(true);
    expect(signed.length).toBe(blob.length - 256);
  } catch (error) {
    expect(error).toBeInstanceOf(AttestationError);
  }
}

describe('a blob', () => {
  const sound = blobOf({ class: 3, sensitive: true, modulus: Buffer.alloc(3, 5) });
  const changed = (at: number, ...bytes: number[]) => {
    const blob = Buffer.from(sound);
    Buffer.from(bytes).copy(blob, at);
    return blob;
  };

  it.each<[string, Buffer, RegExp]>([
    ['that is empty', Buffer.alloc(0), /too short/],
    ['that is all signature', Buffer.alloc(256), /too short/],
    ['whose start is not zero', changed(3, 1), /do not belong/],
    ['with another length', changed(16, 0, 0, 0, 1), /is not its length/],
    ['with a handle', changed(20, 0, 0, 0, 1), /do not belong/],
    ['with another number of attributes', changed(24, 0, 0, 0, 2), /another number/],
    ['whose attributes are longer than it is', changed(28, 255, 255, 255, 255), /longer than it is/],
    ['with an attribute that is not known', changed(32, 0x90, 0, 0, 0), /0x90000000 is not known/],
    ['with an attribute cut off', changed(36, 255, 255, 255, 255), /cut off/],
    ['with an attribute a second time', changed(41, 0, 0, 0, 0), /out of order/],
    ['with a flag that is neither', changed(49, 2), /neither true nor false/],
    ['with something in its padding', changed(sound.length - 257, 1), /do not belong/],
  ])('%s is refused', (_, blob, reason) => {
    expect(() => parseAttestation(blob)).toThrow(AttestationError);
    expect(() => parseAttestation(blob)).toThrow(reason);
  });
});
