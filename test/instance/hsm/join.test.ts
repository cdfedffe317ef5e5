// How an instance comes to a token, and a pool to its beginning; with a provisioner that only keeps count.
import { X509Certificate } from 'node:crypto';
import { foundPool, issuerName } from '../../../src/instance/hsm/found.js';
import {
  admit,
  isJoinQuestion,
  obtainToken,
  type JoinAnswer,
  type JoinParts,
} from '../../../src/instance/hsm/join.js';
import { POOL } from '../../../src/instance/model/pool.js';
import type { Provision } from '../../../src/instance/partition/provision.js';
import type { TokenDirectory } from '../../../src/instance/partition/token.js';
import type { Replication } from '../../../src/instance/replication/replication.js';
import type { Founding } from '../../../src/values/messages.js';
import { DOMAIN } from '../model/fixtures.js';
import { FakeHsm, OPERATOR, TENANT } from './fake-hsm.js';

const key = { modulus: Buffer.of(1), exponent: Buffer.of(3) };

interface Place {
  readonly done: string[];
  readonly parts: JoinParts;
  readonly provision: Provision;
}

function place(
  present: string | undefined,
  answer: () => Promise<JoinAnswer> = () => Promise.resolve({ domain: 'd1', wrapped: Buffer.of(9) }),
  finish: () => Promise<void> = () => Promise.resolve(),
): Place {
  const done: string[] = [];
  const note = <T>(what: string, value: T): T => {
    done.push(what);
    return value;
  };
  const joining = {
    key,
    finish: (wrapped: Uint8Array, domain: string) => note(`finish ${domain} ${String(wrapped[0])}`, finish()),
    abandon: () => note('abandon', Promise.resolve()),
  };
  const provision = {
    found: (domain: string) => note(`found ${domain.length}`, Promise.resolve()),
    join: () => note('join', Promise.resolve(joining)),
    donate: (domain: string, asked: unknown) =>
      note(`donate ${domain} ${String(asked === key)}`, Promise.resolve(Buffer.of(9))),
  } as unknown as Provision;
  const replication = {
    ask: (member: number, question: unknown) =>
      note(
        isJoinQuestion(question) ? `ask ${member} with ${String(question.evidence)}` : 'ask otherwise',
        answer(),
      ),
  } as unknown as Replication;
  const evidence = (asked: unknown, donor: number) =>
    Promise.resolve(`evidence for ${donor} ${String(asked === key)}`);
  const tokens = {
    domains: () => Promise.resolve(present === undefined ? [] : [present]),
  } as unknown as TokenDirectory;
  return { done, parts: { tokens, provision, replication, evidence }, provision };
}

describe('join', () => {
  test('an instance that has a token keeps it, whoever it is', async () => {
    for (const self of [0, 1, 2]) {
      for (const found of [true, false]) {
        const { done, parts } = place('d0');
        expect(await obtainToken(self, 0, found, parts)).toBe('d0');
        expect(done).toEqual([]);
      }
    }
  });

  test('the first of a new pool founds a domain', async () => {
    const { done, parts } = place(undefined);
    expect(await obtainToken(0, 0, true, parts)).toMatch(/^[0-9a-f-]{36}$/);
    expect(done).toEqual(['found 36']);
  });

  test('in a pool that has a view nobody founds another domain', async () => {
    const { done, parts } = place(undefined);
    await expect(obtainToken(0, 0, false, parts)).rejects.toThrow('the token is missing');
    expect(done).toEqual([]);
  });

  test.each([true, false])('another one asks the donor with evidence, and has its domain', async (found) => {
    for (const [self, donor] of [
      [2, 0],
      [0, 1],
    ] as const) {
      const { done, parts } = place(undefined);
      expect(await obtainToken(self, donor, found, parts)).toBe('d1');
      const asked = `ask ${donor} with evidence for ${donor} true`;
      expect(done).toEqual(['join', asked, 'finish d1 9']);
    }
  });

  test('what fails on the way is given up, and told', async () => {
    const refused = place(undefined, () => Promise.reject(new Error('not let in')));
    await expect(obtainToken(1, 0, true, refused.parts)).rejects.toThrow('not let in');
    expect(refused.done).toEqual(['join', 'ask 0 with evidence for 0 true', 'abandon']);
    const broken = place(undefined, undefined, () => Promise.reject(new Error('not for this key')));
    await expect(obtainToken(1, 0, true, broken.parts)).rejects.toThrow('not for this key');
    expect(broken.done.at(-1)).toBe('abandon');
  });

  test('a donor gives its key to whoever shows evidence for the exchange key, and to nobody else', async () => {
    const { done, provision } = place('d1');
    const question = { kind: 'join', key, evidence: 'good' } as const;
    const check = ({ evidence }: { evidence: unknown }, from: number) =>
      evidence === 'good' && from === 2 ? undefined : 'another host';
    await expect(admit(question, 1, 'd1', provision, check)).rejects.toThrow(
      'instance 1 is not let in: another host',
    );
    await expect(admit({ ...question, evidence: 'bad' }, 2, 'd1', provision, check)).rejects.toThrow(
      'instance 2 is not let in: another host',
    );
    expect(done).toEqual([]);
    expect(await admit(question, 2, 'd1', provision, check)).toEqual({
      domain: 'd1',
      wrapped: Buffer.of(9),
    });
    expect(done).toEqual(['donate d1 true']);
  });

  test.each([[undefined], [null], ['join'], [{}], [{ kind: 'leave' }]])(
    '%j is no question to join',
    (question) => {
      expect(isJoinQuestion(question)).toBe(false);
    },
  );
});

describe('founding', () => {
  const founding: Founding = {
    tenantId: TENANT,
    administrators: [OPERATOR],
    cryptoUsers: [],
    issuers: [],
    retentionDays: 7,
    purgeProtection: true,
  };

  test('makes the pool with a TLS root of its own, which speaks for its own names only', async () => {
    const hsm = new FakeHsm([], false);
    await foundPool(hsm, 'dev', 'managedhsm.localhost', DOMAIN, founding);
    expect(hsm.state.get('pool', POOL)).not.toHaveProperty('movableClock');
    expect(hsm.state.get('pool', POOL)).toMatchObject({
      name: 'dev',
      activation: 'NotActivated',
      securityDomain: DOMAIN,
      retentionDays: 7,
      purgeProtection: true,
    });
    const issuer = hsm.state.get('internal', 'tls-issuer');
    const certificate = new X509Certificate(issuer?.certificate ?? Buffer.alloc(0));
    expect(certificate.subject).toBe(`CN=${issuerName('dev').commonName}`);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.ca).toBe(true);
    expect(certificate.raw.includes('dev.managedhsm.localhost')).toBe(true);
    expect(issuer?.sealed.id).toBe('internal/tls-issuer');
    expect(hsm.state.count('assignments')).toBe(1);
  });

  test('certifies by the time of the machine, and dates the pool by its own clock', async () => {
    const hsm = new FakeHsm([], false);
    hsm.clock = Math.floor(Date.now() / 1_000) + 100 * 86_400;
    await foundPool(hsm, 'dev', 'managedhsm.localhost', DOMAIN, { ...founding, movableClock: true });
    expect(hsm.state.get('pool', POOL)).toMatchObject({ founded: hsm.clock, movableClock: true });
    const der = hsm.state.get('internal', 'tls-issuer')?.certificate ?? Buffer.alloc(0);
    expect(Date.parse(new X509Certificate(der).validFrom)).toBeLessThanOrEqual(Date.now());
  });

  test('happens once', async () => {
    const hsm = new FakeHsm();
    await foundPool(hsm, 'dev', 'managedhsm.localhost', DOMAIN, founding);
    expect(hsm.submitted).toEqual([]);
  });
});
