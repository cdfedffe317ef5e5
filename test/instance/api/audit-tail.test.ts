// The newest audit records over HTTPS: for Administrators, and for nobody else.
import { STRANGER } from '../hsm/fake-hsm.js';
import { Served, tokenFor } from './served.js';

let served: Served;
beforeEach(async () => {
  served = await Served.start();
});
afterEach(() => served.stop());

test('audit tail: shows the newest hundred lines, oldest first, and is recorded itself', async () => {
  for (let key = 0; key < 101; key += 1) await served.ask('GET', `/keys/k${key}`);
  const { status, json } = await served.ask('GET', '/trivet/audit');
  expect([status, json['instance']]).toEqual([200, 0]);
  const lines = (json['value'] as unknown as string[]).map(
    (line) => JSON.parse(line) as Record<string, string>,
  );
  expect(lines.map(({ requestUri = '' }) => /k\d+/.exec(requestUri)?.[0])).toEqual(
    Array.from({ length: 100 }, (_, place) => `k${place + 1}`),
  );
  expect(served.audit.records.at(-1)).toMatchObject({ operationName: 'AuditTailGet', httpStatusCode: 200 });
});

test('audit tail: is refused to who may not read the settings', async () => {
  const token = await tokenFor(served.hsm, { oid: STRANGER });
  const { status, text } = await served.ask('GET', '/trivet/audit', { token });
  expect(status).toBe(403);
  expect(text).toContain('Microsoft.KeyVault/managedHsm/settings/read/action');
});
