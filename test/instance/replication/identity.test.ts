// Who a member is.
import { createPublicKey, X509Certificate } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { ownIdentity } from '../../../src/instance/replication/identity.js';
import { clear, identityOf, temporaryDirectory } from './meshes.js';

afterEach(clear);

describe('identity', () => {
  test('is made once, self-signed, for its own key, and kept in a file that only its owner reads', async () => {
    const directory = temporaryDirectory();
    const made = await ownIdentity(directory, 'dev', 2);
    const certificate = new X509Certificate(made.certificate);
    expect(certificate.subject).toBe('CN=dev instance 2');
    expect(certificate.verify(createPublicKey(made.key))).toBe(true);
    expect(certificate.ca).toBe(false);
    expect(statSync(join(directory, 'identity.json')).mode & 0o777).toBe(0o600);
    expect(await ownIdentity(directory, 'dev', 2)).toEqual(made);
  });

  test('two members have different ones', async () => {
    const [a, b] = await Promise.all([identityOf(0), identityOf(1)]);
    expect(a.key).not.toBe(b.key);
    expect(a.certificate).not.toBe(b.certificate);
  });
});
