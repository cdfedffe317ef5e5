// What tests of the fabric stand on: a private directory, and instances that are not real but serve TLS.
import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { issueCertificate, toPem } from '../../../src/values/certificate';

export const program = { script: join(__dirname, 'fake-instance.cjs') };

export interface Wish {
  /** This instance says that it failed. */
  readonly fails?: number;
  /** This one aborts without a word. */
  readonly crashes?: number;
  /** This one reports another TLS root than the others. */
  readonly disagrees?: number;
  /** None leaves when told to. */
  readonly deaf?: true;
}

/** A directory that is gone after the tests of the file. */
export function privateDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'trivet-fabric-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Writes what the fake instances need; the path goes in the place of the PKCS#11 module. */
export async function fakeModule(
  directory: string,
  wish: Wish = {},
): Promise<{ module: string; root: string }> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const root = toPem(
    await issueCertificate({
      subject: { commonName: 'a pool' },
      issuer: { commonName: 'a pool' },
      publicKey: publicKey.export({ format: 'der', type: 'spki' }),
      notBefore: new Date(Date.now() - 60_000),
      notAfter: new Date(Date.now() + 3_600_000),
      names: { dns: ['*.managedhsm.localhost', 'localhost'], ip: ['127.0.0.1'] },
      authority: true,
      sign: (tbs) => sign('sha256', tbs, privateKey),
    }),
  );
  const module = join(directory, `module-${Object.keys(wish).join('-')}.json`);
  const key = privateKey.export({ format: 'pem', type: 'pkcs8' });
  writeFileSync(module, JSON.stringify({ ...wish, key, certificate: root, root }));
  return { module, root };
}

/** Resolves once no process with this id exists. Polls: the process is nobody's child here. */
export async function gone(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}
