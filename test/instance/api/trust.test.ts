// What a pool trusts, over HTTPS: shown and changed by its Administrator, and believed from then on.
import { hostId, issuerId } from '../../../src/instance/hsm/trust.js';
import { HOST, hostKey, MEASUREMENT, OPERATOR } from '../hsm/fake-hsm.js';
import { Served, tokenFor, type Answer } from './served.js';

const OTHER = 'cd'.repeat(32);
const ISSUER = { issuer: 'https://login.example.net/tenant/v2.0' };
const issuerPath = (issuer: string): string => `/trivet/trust/issuers/${issuerId({ issuer })}`;

let served: Served;
beforeEach(async () => {
  served = await Served.start();
});
afterEach(() => served.stop());

const codeOf = ({ json }: Answer): unknown =>
  (json['error'] as { innererror?: { code?: string } }).innererror?.code;
const ask = (method: string, path: string, body?: unknown): Promise<Answer> =>
  served.ask(method, path, body === undefined ? {} : { body });

describe('trust', () => {
  it('is shown, with what the answering instance runs', async () => {
    const { status, json } = await ask('GET', '/trivet/trust');
    expect(status).toBe(200);
    expect(json).toMatchObject({
      hosts: [{ id: hostId(HOST), publicKey: HOST }],
      measurements: [MEASUREMENT],
      running: MEASUREMENT,
      issuers: [{ pinned: true }],
    });
  });

  it('gets another measurement and gives it up again; a path says it in any case', async () => {
    const added = await ask('PUT', `/trivet/trust/measurements/${OTHER.toUpperCase()}`);
    expect([added.status, added.json['measurements']]).toEqual([200, [MEASUREMENT, OTHER]]);
    expect((await ask('GET', '/trivet/trust')).text).toBe(added.text);
    const removed = await ask('DELETE', `/trivet/trust/measurements/${OTHER}`);
    expect([removed.status, removed.json['measurements']]).toEqual([200, [MEASUREMENT]]);
    expect((await ask('DELETE', `/trivet/trust/measurements/${OTHER}`)).status).toBe(404);
    expect((await ask('PUT', '/trivet/trust/measurements/abc')).status).toBe(400);
  });

  it('gets another host under the name that follows from its key', async () => {
    const key = hostKey();
    const path = `/trivet/trust/hosts/${hostId(key)}`;
    const added = await ask('PUT', path, { publicKey: key });
    expect(added.json['hosts']).toEqual([
      { id: hostId(HOST), publicKey: HOST },
      { id: hostId(key), publicKey: key },
    ]);
    for (const publicKey of ['', 'AAAA', HOST])
      expect((await ask('PUT', path, { publicKey })).status).toBe(400);
    expect((await ask('PUT', path, {})).status).toBe(400);
    expect((await ask('DELETE', path)).json['hosts']).toEqual([{ id: hostId(HOST), publicKey: HOST }]);
  });

  it('keeps what the pool runs by, also when there is more', async () => {
    await ask('PUT', `/trivet/trust/measurements/${OTHER}`);
    const key = hostKey();
    await ask('PUT', `/trivet/trust/hosts/${hostId(key)}`, { publicKey: key });
    const before = served.hsm.submitted.length;
    for (const path of [`measurements/${MEASUREMENT}`, `hosts/${hostId(HOST)}`]) {
      const answer = await ask('DELETE', `/trivet/trust/${path}`);
      expect([path, answer.status, codeOf(answer)]).toEqual([path, 409, 'TrustNeeded']);
    }
    expect(served.hsm.submitted).toHaveLength(before);
    // The one issuer that there is: here the judge says so.
    const pinned = ((await ask('GET', '/trivet/trust')).json['issuers'] as unknown as { id: string }[])[0];
    const answer = await ask('DELETE', `/trivet/trust/issuers/${pinned?.id ?? ''}`);
    expect([answer.status, codeOf(answer)]).toEqual([409, 'TrustNeeded']);
  });

  it('gets another issuer with all its terms, changes them, and gives it up again', async () => {
    const path = issuerPath(ISSUER.issuer);
    const terms = { ...ISSUER, audience: 'app', metadataUrl: 'https://login.example.net/meta' };
    const issuers = ({ json }: Answer) => (json['issuers'] as unknown as object[]).slice(1);
    const id = issuerId(ISSUER);
    expect(issuers(await ask('PUT', path, terms))).toEqual([{ ...terms, id, pinned: false }]);
    expect(issuers(await ask('PUT', path, ISSUER))).toEqual([{ ...ISSUER, id, pinned: false }]);
    expect(issuers(await ask('DELETE', path))).toEqual([]);
    expect((await ask('DELETE', path)).status).toBe(404);
  });

  it.each<[string, string, object]>([
    ['without https', 'http://login.example.net', {}],
    ['with a query', 'https://login.example.net/?a', {}],
    ['with a CA that is none', ISSUER.issuer, { ca: 'x' }],
    ['with metadata elsewhere than on the web', ISSUER.issuer, { metadataUrl: 'file:///x' }],
    ['with no audience but an empty one', ISSUER.issuer, { audience: '' }],
  ])('takes no issuer %s', async (_what, issuer, more) => {
    expect((await ask('PUT', issuerPath(issuer), { issuer, ...more })).status).toBe(400);
    expect(served.hsm.submitted).toEqual([]);
  });

  it('takes no issuer under the name of another', async () => {
    const { status, text } = await ask('PUT', issuerPath('https://other.example.net'), ISSUER);
    expect([status, text]).toEqual([400, expect.stringContaining('SHA-256')]);
  });

  it('counts at once: whoever had a token of an issuer that is gone is nobody any more', async () => {
    const { token } = served;
    await ask('PUT', issuerPath(ISSUER.issuer), ISSUER);
    const [pinned] = (await ask('GET', '/trivet/trust')).json['issuers'] as unknown as { id: string }[];
    expect((await ask('DELETE', `/trivet/trust/issuers/${pinned?.id ?? ''}`)).status).toBe(200);
    expect((await served.ask('GET', '/keys', { token })).status).toBe(401);
    expect((await served.ask('GET', '/keys', { token: await tokenFor(served.hsm) })).status).toBe(401);
  });

  it('is written down in the audit log, and goes to the primary as its caller', async () => {
    await ask('PUT', `/trivet/trust/measurements/${OTHER}`);
    expect(served.hsm.submitted.at(-1)).toMatchObject({
      kind: 'TrustChanged',
      authority: { caller: { objectId: OPERATOR }, action: 'settings/write/action', scope: '/' },
      change: { list: 'measurements', add: OTHER },
    });
    expect(JSON.stringify(served.audit)).toContain('TrustedMeasurementSet');
  });
});
