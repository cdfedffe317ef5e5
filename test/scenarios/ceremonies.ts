// Ceremonies with real pools: custodians on their own machine, the files between them and the pool, and what a pool
// that waits is asked.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TestPool, type Answer, type Client } from './pool.js';

const MAIN = join(__dirname, '../../dist/cli/main.js');
export const CRYPTO_ROLES = ['515eb02d-2335-4d2d-92f2-b1cbdf9c3778', '21dbd100-6940-42c2-9190-5d6cb909625b'];

export interface Run {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

/** A command of the custodians: no pool is needed. */
export function offline(...args: string[]): Run {
  const run = spawnSync(process.execPath, [MAIN, 'security-domain', ...args], {
    encoding: 'utf8',
    timeout: 30_000,
  });
  return { status: run.status, out: run.stdout, err: run.stderr };
}

/** The same, or the test fails with what it said. */
export function must({ status, out, err }: Run): string {
  if (status !== 0) throw new Error(err);
  return out;
}

/** A pool that waits for its security domain. */
export function waitingPool(): Promise<TestPool> {
  return TestPool.start(undefined, ['--no-activate']);
}

/** Makes `count` custodians in a directory; gives their certificates. */
export function makeCustodians(directory: string, count = 3): string[] {
  must(offline('make-keys', '--out', directory, '--count', String(count)));
  return custodians(directory, count, 'cer');
}

export function custodians(directory: string, count: number, kind: 'key' | 'cer'): string[] {
  return Array.from({ length: count }, (_, place) => join(directory, `custodian-${place + 1}.${kind}`));
}

/** The body of a download as clients send it. */
export function downloadBody(certificates: readonly string[], required = 2): unknown {
  return {
    certificates: certificates.map((file) => ({
      kty: 'RSA',
      alg: 'RSA-OAEP-256',
      key_ops: ['verify', 'encrypt', 'wrapKey'],
      x5c: [
        readFileSync(file, 'latin1')
          .replace(/-----[^-]+-----/g, '')
          .replace(/\s/g, ''),
      ],
    })),
    required,
  };
}

/** Fetches the pool's exchange certificate and makes a restore blob for it; gives the blob's text. `of`: which pool. */
export function blobFor(
  pool: TestPool,
  domain: string,
  keys: readonly string[],
  name = 'blob',
  of?: string,
): string {
  const exchange = join(pool.home, `${name}.cer`);
  const out = join(pool.home, `${name}.json`);
  const which = of === undefined ? [] : ['--pool', of];
  must(pool.command('security-domain', 'transfer-key', '--out', exchange, ...which));
  must(
    offline(
      'restore-blob',
      '--file',
      domain,
      '--exchange-certificate',
      exchange,
      '--keys',
      ...keys,
      '--out',
      out,
    ),
  );
  return readFileSync(out, 'utf8');
}

/** Gives the administrator the roles for keys, as she may do herself. */
export async function takeCryptoRoles(pool: TestPool, client: Client): Promise<void> {
  for (const role of CRYPTO_ROLES) {
    const roleDefinitionId = `Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/${role}`;
    const path = `/providers/Microsoft.Authorization/roleAssignments/${role.replace(/^./, '0')}`;
    const { status, text } = await client.call('PUT', path, {
      properties: { roleDefinitionId, principalId: pool.admin.objectId },
    });
    if (status !== 201) throw new Error(text);
  }
}

/** Backups of keys by name. */
export async function backups(client: Client, names: readonly string[]): Promise<Map<string, string>> {
  const kept = new Map<string, string>();
  for (const name of names) {
    const { status, body, text } = await client.call('POST', `/keys/${name}/backup`);
    if (status !== 200) throw new Error(text);
    kept.set(name, (body as { value: string }).value);
  }
  return kept;
}

export function restore(client: Client, value: string): Promise<Answer> {
  return client.call('POST', '/keys/restore', { value });
}
