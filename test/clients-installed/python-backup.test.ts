// KeyVaultBackupClient of Debian's python3-azure, unmodified, with the storage of `trivet up --storage`.
import { BlobStorage } from '../scenarios/blob-storage.js';
import { at, TestPool } from '../scenarios/pool.js';
import { runPython } from './installed.js';

let pool: TestPool;
let storage: BlobStorage;

beforeAll(async () => {
  storage = await BlobStorage.start();
  pool = await TestPool.found(undefined, ['--storage-host', storage.option]);
  expect((await (await pool.client()).call('POST', '/keys/k/create', { kty: 'EC' })).status).toBe(200);
});
afterAll(async () => {
  await pool.remove();
  storage.stop();
});

test('KeyVaultBackupClient: a backup, one key of it, all of it, and what is refused', async () => {
  const { storageResourceUri: container, token } = storage.access();
  const chapters = ['backup', 'key', 'everything', 'refused'];
  const told = await runPython<unknown>(pool, 'backup.py', { chapters, container, token, key: 'k' });
  const folder = at(told, 'backup', 'folder');
  expect(folder).toMatch(/^https:\/\/localhost:[0-9]+\/account\/backups\/mhsm-dev-[0-9]{16}$/);
  expect(at(told, 'backup', 'again')).toBe(folder);
  expect(at(told, 'key', 'after')).toBe(at(told, 'key', 'before'));
  expect(at(told, 'key', 'taken')).toMatchObject({ status: 409 });
  expect(at(told, 'everything')).toMatchObject({
    later: { status: 404 },
    kept: at(told, 'key', 'before'),
  });
  expect(at(told, 'refused', 'forbidden')).toMatchObject({ status: 403 });
  expect(at(told, 'refused', 'missing')).toMatchObject({ message: expect.any(String) as string });
}, 180_000);
