// Attestations of keys with @azure/keyvault-keys, unchanged.
import { X509Certificate } from 'node:crypto';
import { TestPool } from '../scenarios/pool.js';
import { describeServed } from './not-yet.js';
import { told as tell } from './programs/told.js';
import type { Refused, Shown } from './programs/told.js';

interface Attested extends Shown {
  readonly attestation: {
    readonly certificates?: string;
    readonly privateKey?: string;
    readonly publicKey?: string;
    readonly version?: string;
  };
}

interface Told {
  readonly keys: readonly Attested[];
  readonly versions: {
    readonly first: Shown;
    readonly second: Shown;
    readonly newest: Attested;
    readonly named: Attested;
  };
  readonly missing: Refused;
}

describeServed('attestation')('attestation', () => {
  let pool: TestPool;
  let told: Told;

  beforeAll(async () => {
    pool = await TestPool.start();
    told = await tell<Told>(pool, 'key-attestations.mjs', ['keys', 'versions', 'missing']);
  });
  afterAll(() => pool.remove());

  it('every type of key has one: of the public part too where there is one', () => {
    expect(told.keys.map(({ type }) => type)).toEqual(['RSA-HSM', 'EC-HSM', 'oct-HSM']);
    for (const { type, attestation } of told.keys) {
      const pem = Buffer.from(attestation.certificates ?? '', 'base64').toString();
      const certificates = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
      expect(certificates.map((one) => new X509Certificate(one).publicKey.type)).not.toEqual([]);
      expect(Buffer.from(attestation.privateKey ?? '', 'base64').length).toBeGreaterThan(256);
      expect(attestation.publicKey !== undefined).toBe(type !== 'oct-HSM');
      expect(attestation.version).toMatch(/./);
    }
  });

  it('it is of the newest version, or of the one that is named', () => {
    const { first, second, newest, named } = told.versions;
    expect([newest.id, named.id]).toEqual([second.id, first.id]);
    expect(newest.attestation.privateKey).not.toBe(named.attestation.privateKey);
  });

  it('a key that is not there has none', () => {
    expect(told.missing).toMatchObject({ status: 404, code: 'KeyNotFound' });
  });
});
