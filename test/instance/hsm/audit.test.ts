// The audit trail of an instance: what is sealed and told to the others, what it keeps of theirs, and when it stops.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { checkLog, type CheckedLog } from '../../../src/cli/audit/check-log.js';
import { Audit, isAuditQuestion, type AuditQuestion } from '../../../src/instance/hsm/audit.js';
import { foundPool } from '../../../src/instance/hsm/found.js';
import { auditFileNumber } from '../../../src/values/audit.js';
import { newUuid } from '../../../src/values/ids.js';
import { FakeHsm, OPERATOR, TENANT } from './fake-hsm.js';

let home: string;
beforeEach(() => (home = mkdtempSync(join(tmpdir(), 'trivet-audit-'))));
afterEach(() => rmSync(home, { recursive: true, force: true }));

async function founded(wish: { auditOptional?: true } = {}): Promise<FakeHsm> {
  const hsm = new FakeHsm([], false);
  await foundPool(hsm, 'dev', 'managedhsm.localhost', newUuid(), {
    tenantId: TENANT,
    administrators: [OPERATOR],
    cryptoUsers: [],
    issuers: [],
    retentionDays: 90,
    purgeProtection: false,
    ...wish,
  });
  return hsm;
}

interface Told {
  readonly member: number;
  readonly question: AuditQuestion;
}

interface Trail {
  readonly audit: Audit;
  readonly directory: string;
  readonly told: Told[];
  readonly failures: Error[];
}

async function open(hsm: FakeHsm, name: string, waitingMax = 1_000_000): Promise<Trail> {
  const directory = join(home, name);
  const told: Told[] = [];
  const failures: Error[] = [];
  const audit = await Audit.open({
    directory,
    pool: 'dev',
    hsm,
    others: [1, 2],
    ask: (member, question) => {
      told.push({ member, question });
      return member === 2 ? Promise.reject(new Error('not serving yet')) : Promise.resolve();
    },
    logger: pino({ level: 'silent' }),
    failed: (error) => failures.push(error),
    waitingMax,
  });
  return { audit, directory, told, failures };
}

function check(directory: string): CheckedLog {
  const files = readdirSync(directory)
    .sort()
    .map((name) => ({
      number: auditFileNumber(name) ?? 0,
      read: () => readFileSync(join(directory, name)),
    }));
  return checkLog(files, { pool: 'dev', instance: 0, owner: undefined, first: 1, now: new Date() });
}

test('audit: an instance that leaves seals what there is and tells the others, one that does not answer included', async () => {
  const { audit, directory, told, failures } = await open(await founded(), 'a');
  audit.event('Something');
  await audit.settle();
  await audit.close();
  expect(failures).toEqual([]);
  const { finding, sealedHashes } = check(directory);
  expect(finding.faults).toEqual([]);
  expect(finding).toMatchObject({ records: 4, sealed: 3, unsealed: 1 });
  expect(told.map(({ member }) => member).sort()).toEqual(expect.arrayContaining([1, 2]));
  for (const { question } of told) {
    expect(isAuditQuestion(question)).toBe(true);
    expect(sealedHashes.get(question.seal.through)).toBe(question.seal.hash);
  }
});

test('audit: the seal of another member is kept once; what is no seal is refused', async () => {
  const hsm = await founded();
  const one = await open(hsm, 'one');
  one.audit.event('Something');
  await one.audit.settle();
  const question = one.told[0]?.question as AuditQuestion;
  await one.audit.close();
  const two = await open(hsm, 'two');
  await two.audit.settle();
  two.told.length = 0;
  await two.audit.witness(1, question);
  await two.audit.witness(1, question);
  for (const wrong of [
    {},
    { ...question.seal, through: 0 },
    { ...question.seal, hash: `${question.seal.hash}"` },
    { ...question.seal, time: 'now' },
    { ...question.seal, signature: 'AAAA' },
    { ...question.seal, more: 1 },
  ]) {
    const forged = { kind: 'audit-seal', seal: wrong } as AuditQuestion;
    await expect(two.audit.witness(1, forged)).rejects.toThrow();
  }
  await two.audit.close();
  const { finding, witnessed } = check(two.directory);
  expect(finding.faults).toEqual([]);
  expect(witnessed).toMatchObject([{ instance: 1, seal: question.seal }]);
  // To tell of what others have told would make the members talk for ever.
  expect(two.told).toEqual([]);
});

test('audit: a pool stops when too much waits for the disk, unless it was founded to go on', async () => {
  const long = `"time":"2026-06-01T00:00:00.000Z","category":"AuditEvent","text":"${'x'.repeat(4_000)}"`;
  const strict = await open(await founded(), 'strict', 10_000);
  const lax = await open(await founded({ auditOptional: true }), 'lax', 10_000);
  for (const { audit } of [strict, lax]) for (let i = 0; i < 3; i += 1) audit.append(long);
  expect(strict.audit.stopped).toMatch('too slowly');
  expect(lax.audit.stopped).toBeUndefined();
  for (const { audit, directory } of [strict, lax]) {
    await audit.durable();
    await audit.close();
    expect(check(directory).finding.faults).toEqual([]);
    const text = readdirSync(directory)
      .map((name) => readFileSync(join(directory, name), 'utf8'))
      .join('');
    expect(text).toMatch('"operationName":"AuditResumed"');
  }
});
