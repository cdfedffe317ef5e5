// Evidence: what it says, for what it counts, and that nothing else does. On links it is in mesh.test.ts.
import { createPublicKey, generateKeyPairSync, randomBytes, verify } from 'node:crypto';
import { SoftwareAttestor } from '../../../src/instance/replication/attestor.js';
import { JoinEvidence } from '../../../src/instance/replication/join-evidence.js';
import { decode, encode } from '../../../src/values/cbor.js';
import { attestorOf, HOST_KEY, hostOf, MEASUREMENT, newHostKey } from './meshes.js';

const link = { role: 'link' } as const;
const binding = randomBytes(32);
const key = { modulus: randomBytes(256), exponent: Buffer.of(1, 0, 1) };
const join = { role: 'join', key } as const;

interface Evidence {
  readonly signed: Buffer;
  readonly signature: Buffer;
}

describe('evidence', () => {
  const prover = attestorOf(1).attestor;
  const { attestor: checker, trusting } = attestorOf(0);

  test('counts for its instance, connection and purpose', () => {
    expect(checker.check(1, prover.evidence(binding, link), binding, link)).toBeUndefined();
    expect(checker.check(1, prover.evidence(binding, join), binding, join)).toBeUndefined();
    // The bytes of the key count, and not what holds them.
    const plain = { modulus: new Uint8Array(key.modulus), exponent: new Uint8Array(key.exponent) };
    expect(
      checker.check(1, prover.evidence(binding, { role: 'join', key: plain }), binding, join),
    ).toBeUndefined();
  });

  test('says what it must, signed by the host and for nothing else', () => {
    const { signed, signature } = decode(prover.evidence(binding, join)) as Evidence;
    expect(decode(signed)).toMatchObject({
      measurement: MEASUREMENT,
      pool: 'dev',
      instance: 1,
      role: 'join',
      binding,
    });
    const host = createPublicKey(HOST_KEY);
    expect(verify(null, signed, host, signature)).toBe(false);
    expect(verify(null, Buffer.concat([Buffer.from('trivet evidence 1\0'), signed]), host, signature)).toBe(
      true,
    );
  });

  test.each<[string, (attestor: SoftwareAttestor) => string | undefined, string]>([
    [
      'another connection',
      (by) => by.check(1, prover.evidence(randomBytes(32), link), binding, link),
      'its evidence is of another connection',
    ],
    [
      'another instance',
      (by) => by.check(2, prover.evidence(binding, link), binding, link),
      'its evidence is of another instance',
    ],
    [
      'a link, shown for a join',
      (by) => by.check(1, prover.evidence(binding, link), binding, join),
      'its evidence is for something else',
    ],
    [
      'a join, shown for a link',
      (by) => by.check(1, prover.evidence(binding, join), binding, link),
      'its evidence is for something else',
    ],
    [
      'another exchange key',
      (by) =>
        by.check(1, prover.evidence(binding, join), binding, {
          role: 'join',
          key: { ...key, modulus: randomBytes(256) },
        }),
      'its evidence is for another exchange key',
    ],
    [
      'parts of a key that were moved',
      (by) =>
        by.check(1, prover.evidence(binding, join), binding, {
          role: 'join',
          key: {
            modulus: key.modulus.subarray(0, 255),
            exponent: Buffer.concat([key.modulus.subarray(255), key.exponent]),
          },
        }),
      'its evidence is for another exchange key',
    ],
  ])('of %s is refused', (_what, check, reason) => {
    expect(check(checker)).toBe(reason);
  });

  test('that is changed anywhere counts for nothing', () => {
    const good = decode(prover.evidence(binding, link)) as Evidence;
    for (const member of ['signed', 'signature'] as const) {
      for (let place = 0; place < good[member].length; place += 7) {
        const changed = Buffer.from(good[member]);
        changed[place] = (changed[place] ?? 0) ^ 1;
        const evidence = encode({ ...good, [member]: changed });
        expect(checker.check(1, evidence, binding, link)).toBe('no enrolled host vouches for it');
      }
    }
  });

  test('that is none is refused, whatever it is, also if a host has signed it', () => {
    const forms = [
      Buffer.alloc(0),
      Buffer.from('ff', 'hex'),
      encode(null),
      encode({}),
      encode({ signed: 'text' }),
    ];
    for (const bytes of [...forms, Buffer.alloc(5_000)]) {
      expect(checker.check(1, bytes, binding, link)).toBe('what it sent is no evidence');
    }
    const odd = attestorOf(1, { measure: () => 'no measurement' }).attestor;
    expect(checker.check(1, odd.evidence(binding, link), binding, link)).toBe(
      'its evidence has another form',
    );
  });

  test('counts by what is trusted at that moment', () => {
    const evidence = prover.evidence(binding, link);
    const before = trusting.allowed;
    const other = hostOf(newHostKey());
    trusting.allowed = { ...before, hosts: [other] };
    expect(checker.check(1, evidence, binding, link)).toBe('no enrolled host vouches for it');
    trusting.allowed = { ...before, hosts: [other, ...before.hosts] };
    expect(checker.check(1, evidence, binding, link)).toBeUndefined();
    trusting.allowed = { ...before, measurements: [] };
    expect(checker.check(1, evidence, binding, link)).toMatch(/^what it runs is not allowed/);
    trusting.allowed = { ...before, measurements: 'any' };
    expect(checker.check(1, evidence, binding, link)).toBeUndefined();
    trusting.allowed = { hosts: [], measurements: 'any' };
    expect(checker.check(1, evidence, binding, link)).toBe('no enrolled host vouches for it');
    trusting.allowed = before;
  });

  test('is measured once, and takes a key of the right kind', () => {
    let measured = 0;
    const { attestor } = attestorOf(1, { measure: () => ((measured += 1), MEASUREMENT) });
    expect(measured).toBe(0);
    attestor.evidence(binding, link);
    attestor.evidence(binding, link);
    expect([attestor.measurement, measured]).toEqual([MEASUREMENT, 1]);
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const hostKey = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
    expect(() => attestorOf(1, { hostKey })).toThrow('not an Ed25519 key');
  });
});

describe('evidence for a question to join', () => {
  /** Two ends of one link, or of two. */
  function ends(donorBinding: Buffer | undefined, joinerBinding: Buffer | undefined = donorBinding) {
    const bound = (own: Buffer | undefined) => ({ binding: () => own });
    return {
      joiner: new JoinEvidence(bound(joinerBinding), attestorOf(1).attestor),
      donor: new JoinEvidence(bound(donorBinding), attestorOf(0).attestor),
    };
  }

  test('lets its key in, and no other', () => {
    const { joiner, donor } = ends(binding);
    const evidence = joiner.evidenceFor(0, key);
    expect(donor.checkJoin(1, evidence, key)).toBeUndefined();
    const other = { ...key, modulus: randomBytes(256) };
    expect(donor.checkJoin(1, evidence, other)).toBe('its evidence is for another exchange key');
    expect(donor.checkJoin(2, evidence, key)).toBe('its evidence is of another instance');
    for (const none of [undefined, null, 'text', {}]) {
      expect(donor.checkJoin(1, none, key)).toBe('what it sent is no evidence');
    }
  });

  test('counts on its own link only', () => {
    const { joiner, donor } = ends(binding, randomBytes(32));
    expect(donor.checkJoin(1, joiner.evidenceFor(0, key), key)).toBe('its evidence is of another connection');
    const gone = ends(undefined);
    expect(() => gone.joiner.evidenceFor(0, key)).toThrow('the link to instance 0 was lost');
    expect(gone.donor.checkJoin(1, joiner.evidenceFor(0, key), key)).toBe('the link is gone');
  });
});
