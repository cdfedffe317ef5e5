// Random sequences of key operations against a live pool and a second account of what is right, over all three
// instances in turn. TRIVET_STEPS says how many, TRIVET_SEED repeats a run.
import { Dice, seedOf, TestPool, type Answer, type Client, type Credentials } from '../scenarios/pool.js';
import { codeOf } from '../scenarios/witness.js';
import { Generator, NAMES } from './generator.js';
import { makeMaterials } from './key-pairs.js';
import { HELD, KeysModel, roleDefinition, type Call, type Moment, type Verdict } from './keys-model.js';
import { differences, unsorted } from './matching.js';
import { LATER, type Caller, type Operation, type Verb } from './operation.js';

const STEPS = Number(process.env['TRIVET_STEPS'] ?? 300);
const SEED = seedOf('TRIVET_SEED');
/** Operations shown when something differs. */
const SHOWN = 20;
const PROGRESS = 1_000;

/** What a build must offer of the operations that came later, so that none is left out unseen. */
const PROMISED: readonly Verb[] = LATER;

let pool: TestPool;
let instances: Client[];
const tokens = new Map<Caller, string>();
const principals = new Map<Caller, Credentials>();

beforeAll(async () => {
  pool = await TestPool.start();
  instances = await pool.clientOfEach();
  principals.set('admin', pool.admin);
  for (const caller of ['user', 'officer', 'auditor', 'wrapper', 'guest'] as const) {
    principals.set(caller, pool.addPrincipal(caller));
  }
  await logIn();
  for (const caller of ['user', 'officer', 'auditor', 'wrapper'] as const) {
    for (const [letter, scope] of HELD[caller]) {
      const path = `${scope === '/' ? '' : scope}/providers/Microsoft.Authorization/roleAssignments/`;
      const properties = {
        principalId: principals.get(caller)?.objectId,
        roleDefinitionId: roleDefinition(letter),
      };
      const { status } = await asked(0, 'admin', 'PUT', `${path}${uuidOf(caller)}`, { properties });
      expect(status).toBe(201);
    }
  }
}, 120_000);
afterAll(() => pool.remove());

async function logIn(): Promise<void> {
  for (const [caller, credentials] of principals) tokens.set(caller, await pool.token(credentials));
}

const uuidOf = (caller: Caller): string =>
  `00000000-0000-4000-9000-${Buffer.from(caller.slice(0, 6)).toString('hex').padStart(12, '0')}`;

function asked(
  instance: number,
  caller: Caller,
  method: string,
  path: string,
  body?: unknown,
): Promise<Answer> {
  const client = instances[instance];
  if (!client) throw new Error(`no instance ${instance}`);
  // The link to a next page has no api-version and needs none.
  const target = path.includes('$skiptoken')
    ? path
    : `${path}${path.includes('?') ? '&' : '?'}api-version=7.6`;
  const sent = body === undefined ? undefined : JSON.stringify(body);
  return client.send(method, target, sent, { Authorization: `Bearer ${tokens.get(caller) ?? ''}` });
}

/** What is offered of the operations that came later; the others are refused as not supported, in one form. */
async function offered(): Promise<Set<Verb>> {
  const found = new Set<Verb>();
  const probes: Readonly<Record<(typeof LATER)[number], readonly [string, string, unknown]>> = {
    backup: ['POST', '/keys/probe/backup', undefined],
    restore: ['POST', '/keys/restore', { value: 'AAAA' }],
    rotate: ['POST', '/keys/probe/rotate', undefined],
    getPolicy: ['GET', '/keys/probe/rotationpolicy', undefined],
    setPolicy: ['PUT', '/keys/probe/rotationpolicy', {}],
  };
  for (const verb of LATER) {
    const answer = await asked(0, 'admin', ...probes[verb]);
    if (answer.status !== 400 || codeOf(answer.body) !== 'NotSupported') found.add(verb);
  }
  return found;
}

const second = (): number => Math.floor(Date.now() / 1_000);

/** Why an answer is not this one; empty when it is. */
function against(verdict: Verdict, answer: Answer): string[] {
  if (verdict.status !== answer.status) return [`status: expected ${verdict.status}, got ${answer.status}`];
  if (verdict.body === undefined)
    return answer.text === '' ? [] : [`body: expected none, got ${answer.text}`];
  const found = differences(verdict.body, answer.body);
  const problem = found.length === 0 ? verdict.check?.(answer.body) : undefined;
  return problem === undefined ? found : [problem];
}

/** What holds of every answer. */
function form({ status, headers, body, text: raw }: Answer): string | undefined {
  const place = unsorted(body);
  if (place !== undefined) return `members of ${place} are not sorted`;
  if (raw !== '' && JSON.stringify(body) !== raw) return `not written as JSON is: ${raw}`;
  if (headers['content-type'] !== 'application/json; charset=utf-8')
    return `type ${String(headers['content-type'])}`;
  const id = `(Activity ID: ${String(headers['x-ms-request-id'])})`;
  return status >= 400 && !raw.includes(id) ? 'the Activity ID is not the request id' : undefined;
}

/** Asks, compares, and lets the model learn; what is wrong, or undefined. */
async function step(
  model: KeysModel,
  operation: Operation,
  instance: number,
  outcomes: Map<string, number>,
): Promise<string | undefined> {
  let call: Call | undefined = model.call(operation, second());
  while (call) {
    const from = second();
    const answer = await asked(instance, operation.caller, call.method, call.path, call.body);
    const moment: Moment = { from, to: second() };
    const verdicts: Verdict[] = call.verdicts(moment);
    const right = verdicts.find((verdict) => against(verdict, answer).length === 0);
    const wrong = right ? form(answer) : undefined;
    if (!right || wrong !== undefined) {
      return [
        `request   ${call.method} ${call.path} ${call.body === undefined ? '' : JSON.stringify(call.body)}`,
        ...verdicts.map(
          ({ status, body }) => `expected  ${status} ${body === undefined ? '' : JSON.stringify(body)}`,
        ),
        `got       ${answer.status} ${answer.text}`,
        ...(wrong === undefined ? verdicts.flatMap((verdict) => against(verdict, answer)) : [wrong]),
      ].join('\n');
    }
    right.apply?.(answer.body);
    const outcome = `${operation.do} ${answer.status}`;
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    call = answer.status === 200 ? call.next?.(answer.body) : undefined;
  }
  return undefined;
}

/** How often each operation was answered how. */
function tally(outcomes: ReadonlyMap<string, number>): string {
  return [...outcomes]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([outcome, count]) => `${outcome}: ${count}`)
    .join(', ');
}

const nameIn = (operation: Operation): string => ('name' in operation ? operation.name : '');

/** Everything that is needed to understand and repeat a difference. */
function report(at: number, done: readonly string[], names: readonly string[], problem: string): string {
  const name = names.at(-1);
  const same = done.filter((_, i) => name !== '' && names[i] === name).slice(-SHOWN);
  return [
    `step ${at} of seed ${SEED} differs (TRIVET_SEED=${SEED} TRIVET_STEPS=${at} repeats it)`,
    problem,
    `the last ${SHOWN} operations:`,
    ...done.slice(-SHOWN),
    ...(same.length > 0 ? [`the last on this name:`, ...same] : []),
  ].join('\n');
}

test(
  `keys: ${STEPS} random operations are answered as the model says (seed ${SEED})`,
  async () => {
    const dice = new Dice(SEED);
    const materials = makeMaterials((length) => Buffer.from(Array.from({ length }, () => dice.below(256))));
    const options = { retentionDays: 90, materials, guest: principals.get('guest')?.objectId ?? '' };
    const model = new KeysModel(pool.uri.origin, options);
    const later = await offered();
    expect([...later]).toEqual(expect.arrayContaining([...PROMISED]));
    const generator = new Generator(dice, model, later);
    const done: string[] = [];
    const names: string[] = [];
    const outcomes = new Map<string, number>();

    const check = async (operation: Operation, instance: number): Promise<void> => {
      done.push(`${String(done.length + 1).padStart(6)}  instance ${instance}  ${JSON.stringify(operation)}`);
      names.push(nameIn(operation));
      const problem = await step(model, operation, instance, outcomes);
      if (problem !== undefined) throw new Error(report(done.length, done, names, problem));
    };

    for (let taken = 1; taken <= STEPS; taken += 1) {
      const operation = generator.next();
      await check(operation, dice.below(3));
      if (taken % PROGRESS === 0) process.stderr.write(`${taken} of ${STEPS} steps, seed ${SEED}\n`);
    }
    // Refusals alone would prove little.
    const succeeded = [...outcomes].filter(([outcome]) => / 20[0-4]$/.test(outcome));
    expect(succeeded.reduce((sum, [, count]) => sum + count, 0)).toBeGreaterThan(STEPS / 3);
    if (STEPS >= PROGRESS) process.stderr.write(`${tally(outcomes)}\n`);

    for (const instance of [0, 1, 2]) {
      for (const operation of model.everything(NAMES)) await check(operation, instance);
    }
    // And it is all there after a start.
    await pool.stop();
    await pool.start();
    instances = await pool.clientOfEach();
    model.base = pool.uri.origin;
    await logIn();
    for (const operation of model.everything(NAMES)) await check(operation, dice.below(3));
  },
  120_000 + STEPS * 200,
);
