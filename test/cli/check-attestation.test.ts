// The checker of attestations: what is sound is told as it is, and whatever is wrong is refused with the reason.
import { sign } from 'node:crypto';
import fc from 'fast-check';
import { checkAttestation } from '../../src/cli/key/check-attestation.js';
import { AttestationError, type Attested } from '../../src/values/attestation.js';
import { toPem } from '../../src/values/certificate.js';
import {
  attestedOf,
  base64url,
  blobOf,
  ID,
  makeBundle,
  makeOwner,
  makePartition,
  makePool,
  NOW,
  p256,
  rsa,
  type Bundle,
  type Kind,
  type Pool,
} from './attestation-maker.js';

let pool: Pool;
let other: Pool;
beforeAll(async () => {
  pool = await makePool();
  other = await makePool();
});

/** Undefined: left out. */
type AttestedChange = { readonly [N in keyof Attested]?: Attested[N] | undefined };

const kinds: Kind[] = ['rsa', 'ec', 'oct'];
const check = (bundle: unknown, pin?: string) => checkAttestation(JSON.stringify(bundle), pin, NOW);

function changed(kind: Kind, change: (bundle: Bundle) => void): Bundle {
  const bundle = makeBundle(pool, kind);
  change(bundle);
  return bundle;
}

function expectRefused(bundle: unknown, reason: RegExp, pin?: string): void {
  expect(() => check(bundle, pin)).toThrow(AttestationError);
  expect(() => check(bundle, pin)).toThrow(reason);
}

describe('a sound attestation', () => {
  it.each(kinds)('%s: says what is attested', (kind) => {
    const finding = check(makeBundle(pool, kind));
    expect(finding).toMatchObject({ id: ID, pool: 'dev', partition: 1, ownerVerified: false });
    expect(finding.privateKey).toEqual(attestedOf(pool, kind).privateKey);
    expect(finding.publicKey).toEqual(attestedOf(pool, kind).publicKey);
  });

  it('is verified down to the owner that is known from elsewhere, and to no other', () => {
    const { ownerFingerprint } = check(makeBundle(pool, 'ec'));
    expect(check(makeBundle(pool, 'ec'), ownerFingerprint).ownerVerified).toBe(true);
    expectRefused(makeBundle(other, 'ec'), /owner's certificate is another one/, ownerFingerprint);
  });

  it('may say null for the public key of a symmetric key, as some clients write it', () => {
    const bundle = changed('oct', ({ attributes }) => (attributes.attestation.publicKeyAttestation = null));
    expect(check(bundle).privateKey.class).toBe(4);
  });
});

describe('the bundle', () => {
  it.each<[string, Kind, (bundle: Bundle) => void, RegExp]>([
    ['of another version', 'ec', (b) => (b.attributes.attestation.version = 'MRVL-1'), /not of the version/],
    [
      'with another kid',
      'ec',
      (b) => (b.key.kid = b.key.kid.replace('/k/', '/j/')),
      /of another key: \/keys\/k/,
    ],
    [
      'with another version of the key',
      'oct',
      (b) => (b.key.kid = b.key.kid.replace(/.$/, '0')),
      /another key/,
    ],
    ['whose kid is no URL', 'ec', (b) => (b.key.kid = ID), /kid is not the URL/],
    ['whose kid has a path of its own', 'ec', (b) => (b.key.kid = `https://h/x${ID}`), /kid is not the URL/],
    [
      'with another modulus',
      'rsa',
      (b) => (b.key['n'] = makeBundle(other, 'rsa').key['n'] ?? ''),
      /not the attested/,
    ],
    ['with another exponent', 'rsa', (b) => (b.key['e'] = 'Aw'), /not the attested/],
    [
      'with a point off its curve',
      'ec',
      (b) => (b.key['x'] = base64url(Buffer.alloc(32, 1))),
      /bundle is none/,
    ],
    ['with a short coordinate', 'ec', (b) => (b.key['x'] = 'AA'), /wrong length/],
    [
      'with another point',
      'ec',
      (b) => Object.assign(b.key, { ...makeBundle(other, 'ec').key }),
      /not the attested/,
    ],
    ['of another curve', 'ec', (b) => (b.key['crv'] = 'P-256K'), /bundle is none|not the attested/],
    [
      'of another type',
      'ec',
      (b) => (b.key = { kid: b.key.kid, kty: 'oct-HSM' }),
      /symmetric key has no public/,
    ],
    [
      'without the public half',
      'rsa',
      (b) => delete b.attributes.attestation.publicKeyAttestation,
      /is missing/,
    ],
    [
      'with a public half for a symmetric key',
      'oct',
      (b) => (b.attributes.attestation.publicKeyAttestation = 'AA'),
      /no public/,
    ],
    [
      'in the standard alphabet',
      'ec',
      (b) => (b.attributes.attestation.privateKeyAttestation = '+/+/'),
      /not base64url/,
    ],
  ])('%s is refused', (_, kind, change, reason) => {
    expectRefused(changed(kind, change), reason);
  });

  it('is refused, saying where, when it is no bundle', () => {
    expect(() => checkAttestation('{', undefined, NOW)).toThrow(/not JSON/);
    for (const json of ['null', '[]', '{}', '{"key":{"kty":"RSA"}}']) {
      expect(() => checkAttestation(json, undefined, NOW)).toThrow(/no key with an attestation: "/);
    }
  });
});

describe('the statement', () => {
  const put = (kind: Kind, half: 'private' | 'public', change: AttestedChange, signer = pool.partitionKey) =>
    changed(kind, ({ attributes: { attestation } }) => {
      const { privateKey, publicKey = {} } = attestedOf(pool, kind);
      const attested = { ...(half === 'private' ? privateKey : publicKey), ...change };
      attestation[`${half}KeyAttestation`] = base64url(blobOf(attested as Attested, signer));
    });

  it('signed by another key is refused', () => {
    for (const half of ['private', 'public'] as const) {
      expectRefused(put('ec', half, {}, other.partitionKey), /not signed by the partition/);
    }
  });

  it.each<[string, Kind, 'private' | 'public', AttestedChange, RegExp]>([
    ['of a key of the pool’s own', 'ec', 'private', { label: 'store-key' }, /not of a customer/],
    ['of another key', 'ec', 'private', { id: ID.replace('/k/', '/j/') }, /of another key/],
    ['of another key in its public half', 'ec', 'public', { id: ID.replace('/k/', '/j/') }, /of another key/],
    ['of a public key in place of the private one', 'rsa', 'private', { class: 2 }, /another class/],
    ['of a private key in place of the public one', 'rsa', 'public', { class: 3 }, /another class/],
    ['of another type of key', 'rsa', 'private', { keyType: 3 }, /another type/],
    ['of a private key in place of a secret one', 'oct', 'private', { class: 3 }, /another class/],
    [
      'that is bound to another public key',
      'ec',
      'private',
      { publicKeySha256: Buffer.alloc(32) },
      /does not belong/,
    ],
    ['that is bound to no public key', 'ec', 'private', { publicKeySha256: undefined }, /does not belong/],
    ['with another modulus', 'rsa', 'private', { modulus: Buffer.alloc(256, 0xff) }, /another modulus/],
    ['with a point that is none', 'ec', 'public', { ecPoint: Buffer.of(4, 1, 4) }, /is none/],
    ['without a point', 'ec', 'public', { ecPoint: undefined }, /no public key/],
  ])('%s is refused, although it is signed', (_, kind, half, change, reason) => {
    expectRefused(put(kind, half, change), reason);
  });

  it('whose halves were exchanged is refused', () => {
    const bundle = changed('rsa', ({ attributes: { attestation } }) => {
      const { privateKeyAttestation, publicKeyAttestation } = attestation;
      attestation.privateKeyAttestation = publicKeyAttestation ?? '';
      attestation.publicKeyAttestation = privateKeyAttestation;
    });
    expectRefused(bundle, /another class/);
  });

  it('with any byte changed, or cut, or with something behind it, is refused', () => {
    const bundle = makeBundle(pool, 'ec');
    const { attestation } = bundle.attributes;
    const sound = Buffer.from(attestation.privateKeyAttestation, 'base64url');
    const refused = (blob: Uint8Array) => {
      attestation.privateKeyAttestation = base64url(blob);
      try {
        check(bundle);
      } catch (error) {
        return error instanceof AttestationError && /malformed|not signed/.test(error.message);
      }
      return false;
    };
    expect(refused(sound)).toBe(false);
    for (let place = 0; place < sound.length; place += 1) {
      const blob = Buffer.from(sound);
      blob[place] = (blob[place] ?? 0) ^ (1 << (place % 8));
      expect([place, refused(blob)]).toEqual([place, true]);
      expect([place, refused(sound.subarray(0, place))]).toEqual([place, true]);
    }
    for (const more of [1, 16, 256].map((length) => Buffer.alloc(length))) {
      expect(refused(Buffer.concat([sound, more]))).toBe(true);
      expect(refused(Buffer.concat([more, sound]))).toBe(true);
    }
  });
});

describe('the certificates', () => {
  const withPem = (...pem: string[]) =>
    changed('ec', (b) => (b.attributes.attestation.certificatePemFile = base64url(pem.join(''))));
  const halves = () => pool.certificates.split(/(?<=-----END CERTIFICATE-----\n)/) as [string, string];

  it('are two and nothing else', () => {
    const [partition, owner] = halves();
    expect(check(withPem(partition, owner)).partition).toBe(1);
    expectRefused(withPem(partition), /not two/);
    expectRefused(withPem(owner, partition), /is not a pool owner/);
    expectRefused(withPem(partition, owner, owner), /not two/);
    expectRefused(withPem(partition, 'text', owner), /more than certificates/);
    expectRefused(withPem(), /not two/);
  });

  it('are whole: garbage, or bytes behind one, is refused', () => {
    const [partition, owner] = halves();
    expectRefused(withPem(partition, toPem(Buffer.from('no certificate'))), /cannot be read/);
    const longer = Buffer.concat([pool.owner.certificate, Buffer.of(0)]);
    expectRefused(withPem(partition, toPem(longer)), /behind a certificate|cannot be read/);
    const broken = Buffer.from(owner.replace(/-----[A-Z ]+-----/g, ''), 'base64');
    broken[broken.length - 1] = (broken.at(-1) ?? 0) ^ 1;
    expectRefused(withPem(partition, toPem(broken)), /not self-signed/);
  });

  it('of the partition that another owner issued is refused', async () => {
    const [, owner] = halves();
    const strange = await makePartition(other.owner, pool.partitionKey);
    expectRefused(withPem(toPem(strange), owner), /not issued by the owner/);
    const forged = await makePartition(pool.owner, pool.partitionKey, {
      sign: (data) => sign('sha256', data, other.owner.key),
    });
    expectRefused(withPem(toPem(forged), owner), /not issued by the owner/);
  });

  it.each<[string, () => Promise<Buffer>, RegExp]>([
    [
      'that could issue others',
      () => makePartition(pool.owner, pool.partitionKey, { authority: true }),
      /not issued/,
    ],
    ['of RSA 3072', () => makePartition(pool.owner, rsa(3072)), /not RSA of 2048/],
    ['of RSA with the exponent 3', () => makePartition(pool.owner, rsa(2048, 3)), /not RSA of 2048/],
    ['of an EC key', () => makePartition(pool.owner, p256()), /not RSA of 2048/],
    [
      'that has ended',
      () => makePartition(pool.owner, pool.partitionKey, { notAfter: new Date(+NOW - 1_000) }),
      /expired/,
    ],
    [
      'that has not begun',
      () => makePartition(pool.owner, pool.partitionKey, { notBefore: new Date(+NOW + 1_000) }),
      /not valid before/,
    ],
    [
      'of another pool',
      () =>
        makePartition(pool.owner, pool.partitionKey, {
          subject: { commonName: 'Trivet pool prod partition 1' },
        }),
      /different pools/,
    ],
    [
      'with the name of something else',
      () =>
        makePartition(pool.owner, pool.partitionKey, { subject: { commonName: 'dev.managedhsm.localhost' } }),
      /not a partition/,
    ],
    [
      'with an escape sequence in its name',
      () =>
        makePartition(pool.owner, pool.partitionKey, {
          subject: { commonName: 'Trivet pool \x1b[2J partition 1' },
        }),
      /not a partition/,
    ],
  ])('of a partition %s is refused', async (_, make, reason) => {
    expectRefused(withPem(toPem(await make()), halves()[1]), reason);
  });

  it.each<[string, () => ReturnType<typeof makeOwner>, RegExp]>([
    ['that is no authority', () => makeOwner({ authority: false }), /not self-signed/],
    [
      'that another has signed',
      () => makeOwner({ sign: (data) => sign('sha256', data, other.owner.key) }),
      /not self-signed/,
    ],
    [
      'that has ended',
      () => makeOwner({ notAfter: new Date(+NOW - 1_000) }),
      /owner’s certificate has expired/,
    ],
    ['of RSA', () => makeOwner({}, rsa()), /not on P-256/],
    [
      'with the name of something else',
      () => makeOwner({ subject: { commonName: 'Trivet pool dev TLS root' } }),
      /not a pool owner/,
    ],
  ])('of an owner %s is refused', async (_, make, reason) => {
    const owner = await make();
    const partition = await makePartition(owner, pool.partitionKey);
    expectRefused(withPem(toPem(partition), toPem(owner.certificate)), reason);
  });
});

describe('whatever the file is', () => {
  const runs = { numRuns: Number(process.env['TRIVET_FUZZ'] ?? 400) };
  /** Replaces one byte of what is decoded somewhere in the bundle, or one text by another. */
  const places = ['certificatePemFile', 'privateKeyAttestation', 'publicKeyAttestation'] as const;

  it('random bytes in its parts end in a refusal, never in another error', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...kinds),
        fc.constantFrom(...places),
        fc.nat(),
        fc.uint8Array({ minLength: 1, maxLength: 12 }),
        fc.boolean(),
        (kind, place, at, bytes, inPem) => {
          const bundle = makeBundleOnce(kind);
          const { attestation } = bundle.attributes;
          const whole = Buffer.from(attestation[place] ?? '', 'base64url');
          const changedBytes = Buffer.from(whole);
          const text = inPem ? Buffer.from(Buffer.from(bytes).toString('base64')) : Buffer.from(bytes);
          text.copy(changedBytes, whole.length === 0 ? 0 : at % whole.length);
          if (changedBytes.equals(whole)) return;
          attestation[place] = base64url(changedBytes);
          refusedOrSound(JSON.stringify(bundle), place !== 'certificatePemFile');
        },
      ),
      runs,
    );
  });

  it('any JSON, and any text, ends in a refusal, never in another error', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (json) => refusedOrSound(json, true)),
      runs,
    );
  });

  it('any value in the place of another ends in a refusal, never in another error', () => {
    const paths = [
      ['key'],
      ['key', 'kid'],
      ['key', 'kty'],
      ['key', 'n'],
      ['key', 'e'],
      ['key', 'crv'],
      ['key', 'x'],
      ['attributes', 'attestation'],
      ...[...places, 'version'].map((name) => ['attributes', 'attestation', name]),
    ];
    const values = fc.oneof(fc.jsonValue(), fc.webUrl(), fc.base64String());
    fc.assert(
      fc.property(fc.constantFrom(...kinds), fc.constantFrom(...paths), values, (kind, path, value) => {
        const bundle = makeBundleOnce(kind);
        let parent: unknown = bundle;
        for (const name of path.slice(0, -1)) parent = (parent as Record<string, unknown>)[name];
        (parent as Record<string, unknown>)[path.at(-1) ?? ''] = value;
        refusedOrSound(JSON.stringify(bundle), false);
      }),
      runs,
    );
  });

  const bundles = new Map<Kind, string>();
  function makeBundleOnce(kind: Kind): Bundle {
    const made = bundles.get(kind) ?? JSON.stringify(makeBundle(pool, kind));
    bundles.set(kind, made);
    return JSON.parse(made) as Bundle;
  }

  function refusedOrSound(json: string, mustRefuse: boolean): void {
    try {
      checkAttestation(json, undefined, NOW);
    } catch (error) {
      expect(error).toBeInstanceOf(AttestationError);
      return;
    }
    expect(mustRefuse).toBe(false);
  }
});
