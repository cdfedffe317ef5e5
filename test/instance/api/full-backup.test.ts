// Full backup and restore over REST: forms, headers and refusals as clients rely on them.
import { Bench, CONTAINER, TOKEN } from '../hsm/full-backup/memory.js';
import { Served, textOf, type Answer, type Json } from './served.js';

let served: Served;
let bench: Bench;
beforeEach(async () => {
  served = await Served.start();
  bench = new Bench(undefined, served.hsm);
});
afterEach(() => served.stop());

const SAS = { storageResourceUri: CONTAINER, token: TOKEN };
const BASE = 'https://dev.managedhsm.localhost:9443';
const post = (path: string, body: unknown) => served.ask('POST', path, { body });
const put = (path: string, body: unknown) => served.ask('PUT', path, { body });
const idOf = ({ json }: Answer) => textOf(json['jobId']);
const problemOf = ({ status, json }: Answer) => [status, textOf(json['error']?.['code'])];

async function ended(family: string, { json }: Answer): Promise<Json> {
  await bench.runner().look();
  return (await served.ask('GET', `/${family}/${textOf(json['jobId'])}/pending`)).json;
}

describe('POST /backup', () => {
  it('answers 202 with the job, what is not known yet as null, and where to ask, without an api-version', async () => {
    const answer = await post('/backup', SAS);
    expect(answer.status).toBe(202);
    expect(idOf(answer)).toMatch(/^[0-9a-f]{32}$/);
    expect(answer.json).toEqual({
      azureStorageBlobContainerUri: null,
      endTime: null,
      error: null,
      jobId: idOf(answer),
      startTime: served.hsm.now(),
      status: 'InProgress',
      statusDetails: null,
    });
    expect(answer.headers['azure-asyncoperation']).toBe(`${BASE}/backup/${idOf(answer)}/pending`);
    expect(answer.headers['retry-after']).toBe('5');
    expect(served.hsm.woken).toBe(1);
  });

  it('is asked for with an api-version and without, and ends with folder and time in whole seconds', async () => {
    const answer = await post('/backup', { ...SAS, useManagedIdentity: false });
    served.hsm.clock += 7;
    await bench.runner().look();
    for (const path of [
      `/backup/${idOf(answer)}/pending`,
      `/backup/${idOf(answer)}/pending?api-version=7.4`,
    ]) {
      const { status, json } = await served.ask('GET', path);
      expect([status, json['status'], json['error']]).toEqual([200, 'Succeeded', null]);
      expect(Number(json['endTime'])).toBe(Number(json['startTime']) + 7);
      expect(textOf(json['azureStorageBlobContainerUri'])).toMatch(
        new RegExp(`^${CONTAINER}/mhsm-dev-[0-9]{16}$`),
      );
    }
    const { status } = await served.ask('GET', `/backup/${idOf(answer)}/pending?api-version=6.0`);
    expect(status).toBe(400);
  });

  it('a second one is refused while it runs, of whatever kind: 409', async () => {
    await post('/backup', SAS);
    expect(problemOf(await post('/backup', SAS))).toEqual([409, 'Conflict']);
    expect(problemOf(await post('/prebackup', {}))).toEqual([409, 'Conflict']);
    const sasTokenParameters = SAS;
    expect(problemOf(await put('/restore', { sasTokenParameters, folderToRestore: 'f' }))).toEqual([
      409,
      'Conflict',
    ]);
    expect(problemOf(await put('/keys/k/restore', { sasTokenParameters, folder: 'f' }))).toEqual([
      409,
      'Conflict',
    ]);
  });

  it('shows a failure as code and message, with its inner error as null', async () => {
    bench.container.before = () => {
      throw new TypeError('anything');
    };
    const job = await ended('backup', await post('/backup', SAS));
    expect(job).toMatchObject({
      status: 'Failed',
      error: { code: 'InternalError', message: 'Internal error', innererror: null },
      azureStorageBlobContainerUri: null,
    });
    expect(job['endTime']).not.toBeNull();
  });

  it.each([
    ['no storage', { token: TOKEN }, [400, 'BadParameter']],
    ['no token', { storageResourceUri: CONTAINER }, [400, 'BadParameter']],
    ['a null token', { storageResourceUri: CONTAINER, token: null }, [400, 'BadParameter']],
    [
      'a managed identity',
      { storageResourceUri: CONTAINER, useManagedIdentity: true },
      [400, 'NotSupported'],
    ],
    [
      'a storage that is not allowed',
      { ...SAS, storageResourceUri: 'https://evil/backups' },
      [403, 'Forbidden'],
    ],
    ['no container', { ...SAS, storageResourceUri: 'https://localhost:10000/' }, [400, 'BadParameter']],
  ])('%s is refused, and nothing begins', async (_what, body, expected) => {
    const answer = await post('/backup', body);
    expect(problemOf(answer)).toEqual(expected);
    expect(answer.text).not.toContain('secret');
    expect(served.hsm.state.count('jobs')).toBe(0);
  });

  it('the audit log has the request and no token', async () => {
    await post('/backup', SAS);
    expect(served.audit.records.at(-1)).toMatchObject({ operationName: 'FullBackupStart' });
    expect(served.audit.lines.join('')).not.toContain('secret');
  });
});

describe('restores', () => {
  const folderOf = async (): Promise<string> => {
    const job = await ended('backup', await post('/backup', SAS));
    return textOf(job['azureStorageBlobContainerUri']).split('/').at(-1) ?? '';
  };

  it('PUT /restore answers 202 and closes everything but the status, with 503 and Retry-After', async () => {
    await post('/keys/k/create', { kty: 'EC' });
    const folderToRestore = await folderOf();
    const answer = await put('/restore', { sasTokenParameters: SAS, folderToRestore });
    expect(answer.status).toBe(202);
    expect(answer.headers['azure-asyncoperation']).toBe(`${BASE}/restore/${idOf(answer)}/pending`);
    expect(answer.json).not.toHaveProperty('azureStorageBlobContainerUri');
    for (const [method, path, body] of [
      ['GET', '/keys', undefined],
      ['GET', '/keys/k', undefined],
      ['POST', '/keys/k/sign', { alg: 'ES256', value: Buffer.alloc(32).toString('base64url') }],
      ['POST', '/keys/n/create', { kty: 'EC' }],
      ['GET', '/settings', undefined],
      ['POST', '/rng', { count: 1 }],
      ['GET', '/providers/Microsoft.Authorization/roleAssignments', undefined],
      ['GET', '/trivet/trust', undefined],
    ] as const) {
      const closed = await served.ask(method, path, { body });
      expect([path, ...problemOf(closed), closed.headers['retry-after']]).toEqual([
        path,
        503,
        'ServiceUnavailable',
        '10',
      ]);
    }
    expect((await ended('restore', answer))['status']).toBe('Succeeded');
    expect((await served.ask('GET', '/keys/k')).status).toBe(200);
  });

  it('PUT /restore over keys that were never backed up is refused: 409', async () => {
    await post('/keys/k/create', { kty: 'EC' });
    const answer = await put('/restore', { sasTokenParameters: SAS, folderToRestore: 'mhsm-dev-1' });
    expect(problemOf(answer)).toEqual([409, 'Conflict']);
    expect(answer.json['error']?.['innererror']).toEqual({ code: 'BackupNeeded' });
  });

  it('PUT /keys/{name}/restore brings one key, and is refused while it exists or is deleted: 409', async () => {
    await post('/keys/k/create', { kty: 'EC' });
    const { text } = await served.ask('GET', '/keys/k');
    const body = { sasTokenParameters: SAS, folder: await folderOf() };
    expect(problemOf(await put('/keys/k/restore', body))).toEqual([409, 'Conflict']);
    await served.ask('DELETE', '/keys/k');
    expect(problemOf(await put('/keys/k/restore', body))).toEqual([409, 'Conflict']);
    await served.ask('DELETE', '/deletedkeys/k');
    const answer = await put('/keys/k/restore', body);
    expect(answer.status).toBe(202);
    expect((await served.ask('GET', '/keys')).status).toBe(200);
    expect((await ended('restore', answer))['status']).toBe('Succeeded');
    expect((await served.ask('GET', '/keys/k')).text).toBe(text);
  });

  it('a folder may be given with its container, as clients cut the URL of a host that serves several accounts', async () => {
    const folder = await folderOf();
    const sasTokenParameters = { ...SAS, storageResourceUri: CONTAINER.replace('/backups', '') };
    const answer = await put('/prerestore', { sasTokenParameters, folderToRestore: `backups/${folder}` });
    expect((await ended('restore', answer))['status']).toBe('Succeeded');
    expect(served.hsm.state.get('jobs', idOf(answer))).toMatchObject({ container: CONTAINER, folder });
  });

  it('PUT /prerestore checks with and without a backup, and changes nothing', async () => {
    const folderToRestore = await folderOf();
    const sasTokenParameters = SAS;
    for (const body of [{}, { sasTokenParameters, folderToRestore }])
      expect((await ended('restore', await put('/prerestore', body)))['status']).toBe('Succeeded');
    expect(
      await ended('restore', await put('/prerestore', { sasTokenParameters, folderToRestore: 'no' })),
    ).toMatchObject({ status: 'Failed', error: { code: 'BackupNotFound' } });
    expect(problemOf(await put('/prerestore', { folderToRestore }))).toEqual([400, 'BadParameter']);
  });

  it.each(['', '..', 'a/..', '../a', '/a', 'a/', 'a/b/c', 'a%2fb', 'a?b', 'x'.repeat(200)])(
    'a folder is one name: %j is refused',
    async (folderToRestore) => {
      expect(problemOf(await put('/restore', { sasTokenParameters: SAS, folderToRestore }))).toEqual([
        400,
        'BadParameter',
      ]);
    },
  );
});

describe('status', () => {
  it('of a job that is not there, or is of the other kind, is 404', async () => {
    const answer = await post('/backup', SAS);
    for (const path of [`/restore/${idOf(answer)}`, `/backup/${'0'.repeat(32)}`, '/backup/x'])
      expect(problemOf(await served.ask('GET', `${path}/pending`))).toEqual([404, 'NotFound']);
  });

  it('checks came with 7.6-preview.2, the rest with 7.2-preview', async () => {
    expect(problemOf(await post('/prebackup?api-version=7.5', {}))).toEqual([400, 'NotSupported']);
    expect((await post('/prebackup?api-version=7.6-preview.2', {})).status).toBe(202);
    expect(problemOf(await post('/backup?api-version=7.1', SAS))).toEqual([400, 'NotSupported']);
  });
});
