// The judge of histories, judged: by histories that are known to be right or wrong, and by trying every order of small
// ones.
import { Dice, seedOf } from '../scenarios/pool.js';
import { judge, reduced, type Model, type Operation } from './linearizable.js';
import {
  isKeyRead,
  keyModelFor,
  roleModel,
  type KeyCall,
  type KeyResult,
  type RoleCall,
  type RoleResult,
} from './models.js';

const SEED = seedOf('TRIVET_SEED');

type KeyOperation = Operation<KeyCall, KeyResult>;

/** What, from, to, answer. Without an answer nobody knows what became of it. */
type Row<Call, Result> = readonly [call: Call, invoked: number, returned?: number, result?: Result];

function history<Call, Result>(rows: readonly Row<Call, Result>[]): Operation<Call, Result>[] {
  return rows.map(([call, invoked, returned, result], id) => ({
    id,
    call,
    invoked,
    ...(returned !== undefined && result !== undefined && { answer: { returned, result } }),
  }));
}

const keys = (...rows: readonly Row<KeyCall, KeyResult>[]): KeyOperation[] => history(rows);
const roles = (...rows: readonly Row<RoleCall, RoleResult>[]) => history(rows);
const judgeKey = (operations: readonly KeyOperation[]) => judge(keyModelFor(operations), operations);

const create = (mark: string): KeyCall => ({ do: 'create', mark });
const update = (mark: string, enabled = true): KeyCall => ({ do: 'update', mark, enabled });
const ask = (what: Exclude<KeyCall['do'], 'create' | 'update'>): KeyCall => ({ do: what });
const version = (id: string, mark: string, enabled = true): KeyResult => ({
  is: 'version',
  version: id,
  enabled,
  mark,
});
const signed = (id: string): KeyResult => ({ is: 'signed', version: id });
const versions = (...all: readonly (readonly [string, string])[]): KeyResult => ({
  is: 'versions',
  all: all.map(([id, mark]) => ({ version: id, enabled: true, mark })),
});
const listed = (there: boolean): KeyResult => ({ is: 'listed', there });
const NOT_FOUND: KeyResult = { is: 'notFound' };
const DONE: KeyResult = { is: 'done' };

describe('right', () => {
  it.each<readonly [string, KeyOperation[]]>([
    ['nothing at all', []],
    [
      'the life of a key',
      keys(
        [create('a'), 0, 1, version('v1', 'a')],
        [ask('get'), 2, 3, version('v1', 'a')],
        [ask('rotate'), 4, 5, { is: 'noPolicy' }],
        [ask('setPolicy'), 6, 7, DONE],
        [ask('rotate'), 8, 9, version('v2', 'a')],
        [ask('versions'), 10, 11, versions(['v1', 'a'], ['v2', 'a'])],
        [update('b', false), 12, 13, version('v2', 'b', false)],
        [ask('sign'), 14, 15, { is: 'disabled' }],
        [ask('delete'), 16, 17, version('v2', 'b', false)],
        [ask('get'), 18, 19, NOT_FOUND],
        [create('c'), 20, 21, { is: 'heldByDeleted' }],
        [ask('isListed'), 22, 23, listed(false)],
        [ask('isListedDeleted'), 22, 23, listed(true)],
        [ask('recover'), 24, 25, version('v2', 'b', false)],
        [ask('delete'), 26, 27, version('v2', 'b', false)],
        [ask('purge'), 28, 29, DONE],
        [ask('getDeleted'), 30, 31, NOT_FOUND],
        [create('d'), 32, 33, version('v3', 'd')],
        [ask('versions'), 34, 35, versions(['v3', 'd'])],
        [ask('sign'), 36, 37, signed('v3')],
      ),
    ],
    [
      'two reads during one change see it in the order in which they came',
      keys(
        [create('a'), 0, 1, version('v1', 'a')],
        [update('b'), 2, 20, version('v1', 'b')],
        [ask('get'), 3, 4, version('v1', 'a')],
        [ask('get'), 5, 6, version('v1', 'b')],
      ),
    ],
    [
      'two creations at once, seen in the other order than they were answered',
      keys(
        [create('a'), 0, 10, version('v1', 'a')],
        [create('b'), 0, 11, version('v2', 'b')],
        [ask('versions'), 12, 13, versions(['v2', 'b'], ['v1', 'a'])],
      ),
    ],
    [
      'a change without an answer that happens late',
      keys(
        [create('a'), 0, 1, version('v1', 'a')],
        [ask('delete'), 2],
        [ask('get'), 3, 4, version('v1', 'a')],
        [ask('get'), 100, 101, NOT_FOUND],
      ),
    ],
    [
      'a change without an answer that never happens',
      keys(
        [create('a'), 0, 1, version('v1', 'a')],
        [ask('delete'), 2],
        [ask('get'), 3, 4, version('v1', 'a')],
        [ask('getDeleted'), 100, 101, NOT_FOUND],
      ),
    ],
    [
      'a version whose maker got no answer',
      keys(
        [create('a'), 0],
        [ask('get'), 3, 4, version('v1', 'a')],
        [ask('sign'), 5, 6, signed('v1')],
        [ask('versions'), 5, 6, versions(['v1', 'a'])],
      ),
    ],
  ])('%s', (_what, operations) => {
    expect(judgeKey(operations)).toEqual({ kind: 'linearizable' });
  });

  it('a role that is taken while it is used', () => {
    const operations = roles(
      [{ do: 'use' }, 0, 1, { is: 'denied' }],
      [{ do: 'assign' }, 2, 3, { is: 'done' }],
      [{ do: 'assign' }, 4, 5, { is: 'exists' }],
      [{ do: 'take' }, 6, 20, { is: 'done' }],
      [{ do: 'use' }, 7, 8, { is: 'allowed' }],
      [{ do: 'use' }, 9, 30, { is: 'denied' }],
      [{ do: 'get' }, 31, 32, { is: 'notFound' }],
    );
    expect(judge(roleModel, operations)).toEqual({ kind: 'linearizable' });
  });
});

describe('wrong', () => {
  const MADE = [create('a'), 0, 1, version('v1', 'a')] as const;
  // The last one is the answer that cannot be.
  it.each<readonly [string, KeyOperation[]]>([
    ['a lost creation', keys(MADE, [ask('get'), 2, 3, NOT_FOUND])],
    ['a key that nobody made', keys([ask('sign'), 0, 1, signed('v1')])],
    [
      'a lost version',
      keys(MADE, [create('b'), 2, 3, version('v2', 'b')], [ask('versions'), 4, 5, versions(['v1', 'a'])]),
    ],
    [
      'a lost update',
      keys(MADE, [update('b'), 2, 3, version('v1', 'b')], [ask('get'), 4, 5, version('v1', 'a')]),
    ],
    [
      'a stale read after a newer one',
      keys(
        MADE,
        [update('b'), 2, 20, version('v1', 'b')],
        [ask('get'), 3, 4, version('v1', 'b')],
        [ask('get'), 5, 6, version('v1', 'a')],
      ),
    ],
    [
      'a deleted key that still signs',
      keys(MADE, [ask('delete'), 2, 3, version('v1', 'a')], [ask('sign'), 4, 5, signed('v1')]),
    ],
    [
      'a disabled key that still signs',
      keys(MADE, [update('b', false), 2, 3, version('v1', 'b', false)], [ask('sign'), 4, 5, signed('v1')]),
    ],
    [
      'a key that comes back from its purge',
      keys(
        MADE,
        [ask('delete'), 2, 3, version('v1', 'a')],
        [ask('purge'), 4, 5, DONE],
        [ask('recover'), 6, 7, version('v1', 'a')],
      ),
    ],
    [
      'a version that comes back from a purge',
      keys(
        MADE,
        [ask('delete'), 2, 3, version('v1', 'a')],
        [ask('purge'), 4, 5, DONE],
        [create('b'), 6, 7, version('v2', 'b')],
        [ask('versions'), 8, 9, versions(['v1', 'a'], ['v2', 'b'])],
      ),
    ],
    [
      'half a deletion: neither living nor deleted',
      keys(MADE, [ask('delete'), 2], [ask('get'), 4, 5, NOT_FOUND], [ask('getDeleted'), 6, 7, NOT_FOUND]),
    ],
    [
      'half an update: enabled by it, with the tags from before',
      keys(MADE, [update('b', false), 2], [ask('get'), 4, 5, version('v1', 'a', false)]),
    ],
    [
      'one rotation without an answer that happens twice',
      keys(
        MADE,
        [ask('setPolicy'), 2, 3, DONE],
        [ask('rotate'), 4],
        [ask('versions'), 5, 6, versions(['v1', 'a'], ['v2', 'a'])],
        [ask('versions'), 7, 8, versions(['v1', 'a'], ['v2', 'a'], ['v3', 'a'])],
      ),
    ],
    [
      'swapped answers of two creations',
      keys(
        [create('a'), 0, 10, version('v1', 'a')],
        [create('b'), 0, 10, version('v2', 'b')],
        [ask('versions'), 11, 12, versions(['v1', 'b'], ['v2', 'a'])],
      ),
    ],
    [
      'one version as the answer to two creations',
      keys([create('a'), 0, 10, version('v1', 'a')], [create('b'), 0, 11, version('v1', 'a')]),
    ],
    [
      'two creations whose order is seen both ways',
      keys(
        [create('a'), 0, 10, version('v1', 'a')],
        [create('b'), 0, 10, version('v2', 'b')],
        [ask('get'), 11, 12, version('v1', 'a')],
        [ask('sign'), 13, 14, signed('v2')],
      ),
    ],
    [
      'a list without a key that lived throughout',
      keys(MADE, [ask('sign'), 2, 3, signed('v1')], [ask('isListed'), 2, 3, listed(false)]),
    ],
    [
      'a deletion without an answer that happens and is undone by nobody',
      keys(MADE, [ask('delete'), 2], [ask('get'), 3, 4, NOT_FOUND], [ask('get'), 5, 6, version('v1', 'a')]),
    ],
  ])('%s', (_what, operations) => {
    expect(judgeKey(operations)).toEqual({ kind: 'violated', impossible: operations.at(-1) });
    // The order in which a history is written down says nothing.
    expect(judgeKey([...operations].reverse()).kind).toBe('violated');
  });

  it.each<readonly [string, Operation<RoleCall, RoleResult>[]]>([
    [
      'a revoked role that still works',
      roles(
        [{ do: 'assign' }, 0, 1, { is: 'done' }],
        [{ do: 'take' }, 2, 3, { is: 'done' }],
        [{ do: 'use' }, 4, 5, { is: 'allowed' }],
      ),
    ],
    [
      'a role that does not work yet',
      roles([{ do: 'assign' }, 0, 1, { is: 'done' }], [{ do: 'use' }, 2, 3, { is: 'denied' }]),
    ],
    [
      'a role taken twice',
      roles(
        [{ do: 'assign' }, 0, 1, { is: 'done' }],
        [{ do: 'take' }, 2, 9, { is: 'done' }],
        [{ do: 'take' }, 2, 10, { is: 'done' }],
      ),
    ],
    [
      'a role that flickers',
      roles(
        [{ do: 'assign' }, 0, 1, { is: 'done' }],
        [{ do: 'take' }, 2],
        [{ do: 'use' }, 3, 4, { is: 'denied' }],
        [{ do: 'use' }, 5, 6, { is: 'allowed' }],
      ),
    ],
  ])('%s', (_what, operations) => {
    expect(judge(roleModel, operations)).toEqual({ kind: 'violated', impossible: operations.at(-1) });
  });

  it('an answer from before the question is no history', () => {
    expect(() => judgeKey(keys([ask('get'), 5, 4, NOT_FOUND]))).toThrow(/ends before it begins/);
  });

  it('a history too wide to judge is not called right', () => {
    const wide = keys(
      ...Array.from({ length: 12 }, (_, i) => [create(`m${i}`), 0] as const),
      [ask('get'), 1, 2, NOT_FOUND],
      [ask('get'), 3, 4, version('v', 'm1')],
    );
    expect(judge(keyModelFor(wide), wide, 1_000).kind).toBe('undecided');
  });
});

it('the violation that is shown has what it takes and little else', () => {
  const noise = Array.from(
    { length: 60 },
    (_, i) => [ask('get'), 10 + i, 10.5 + i, version('v1', 'a')] as const,
  );
  const operations = keys(
    [create('a'), 0, 1, version('v1', 'a')],
    ...noise,
    [ask('delete'), 80, 81, version('v1', 'a')],
    [ask('sign'), 82, 83, signed('v1')],
    [create('z'), 84, 85, { is: 'heldByDeleted' }],
    [ask('get'), 86, 87, NOT_FOUND],
  );
  const shown = reduced(keyModelFor(operations), operations, isKeyRead);
  expect(shown.map(({ call }) => call.do)).toEqual(['create', 'delete', 'sign']);
  expect(judge(keyModelFor(operations), shown).kind).toBe('violated');
});

// ---- against every order ---------------------------------------------------------------------------------------

/** Linearizable by the definition: some order of the operations, unanswered ones left out at will, explains all. */
function byDefinition<State, Call, Result>(
  model: Model<State, Call, Result>,
  operations: readonly Operation<Call, Result>[],
): boolean {
  const search = (state: State, rest: readonly Operation<Call, Result>[]): boolean => {
    if (rest.every(({ answer }) => !answer)) return true;
    return rest.some((next) => {
      const others = rest.filter((other) => other !== next);
      const tooEarly = others.some(({ answer }) => answer && answer.returned < next.invoked);
      return (
        !tooEarly &&
        model.step(state, next.call, next.answer?.result).some((state_) => search(state_, others))
      );
    });
  };
  return search(model.initial, operations);
}

/** What an object really answered to clients who overlap, then perhaps one answer changed for another. */
function randomHistory(dice: Dice): KeyOperation[] {
  const calls: KeyCall[] = [
    ...[create('a'), create('b'), update('c'), update('d', false), ask('delete'), ask('recover')],
    ...[
      ask('purge'),
      ask('get'),
      ask('get'),
      ask('getDeleted'),
      ask('sign'),
      ask('versions'),
      ask('isListed'),
    ],
  ];
  let live: 'absent' | 'live' | 'deleted' = 'absent';
  let all: { version: string; enabled: boolean; mark: string }[] = [];
  const shown = (): KeyResult => ({
    is: 'version',
    ...(all.at(-1) ?? { version: '', enabled: true, mark: '' }),
  });
  const answerTo = (call: KeyCall, id: number): KeyResult => {
    const newest = all.at(-1);
    switch (call.do) {
      case 'create':
        if (live === 'deleted') return { is: 'heldByDeleted' };
        live = 'live';
        all = [...all, { version: `v${id}`, enabled: true, mark: call.mark }];
        return shown();
      case 'update':
        if (live !== 'live' || !newest) return NOT_FOUND;
        all = [...all.slice(0, -1), { ...newest, enabled: call.enabled, mark: call.mark }];
        return shown();
      case 'delete':
        if (live !== 'live') return NOT_FOUND;
        live = 'deleted';
        return shown();
      case 'recover':
        if (live !== 'deleted') return NOT_FOUND;
        live = 'live';
        return shown();
      case 'purge':
        if (live !== 'deleted') return NOT_FOUND;
        live = 'absent';
        all = [];
        return DONE;
      case 'get':
        return live === 'live' ? shown() : NOT_FOUND;
      case 'getDeleted':
        return live === 'deleted' ? shown() : NOT_FOUND;
      case 'sign':
        if (live !== 'live' || !newest) return NOT_FOUND;
        return newest.enabled ? signed(newest.version) : { is: 'disabled' };
      case 'versions':
        return { is: 'versions', all: live === 'live' ? all : [] };
      case 'isListed':
        return listed(live === 'live');
      case 'isListedDeleted':
      case 'rotate':
      case 'setPolicy':
        throw new Error(`${call.do} is not among the calls`);
    }
  };
  const operations = Array.from({ length: 3 + dice.below(5) }, (_, id): KeyOperation => {
    const call = dice.pick(calls);
    // It takes place at 10, 20, ...; how long before it was sent and after it was answered is chance.
    const moment = 10 * (id + 1);
    const result = answerTo(call, id);
    const invoked = moment - dice.below(35);
    if (dice.below(5) === 0) return { id, call, invoked };
    return { id, call, invoked, answer: { returned: moment + dice.below(35), result } };
  });
  const answered = operations.filter(({ answer }) => answer);
  if (dice.below(2) === 0 || answered.length < 2) return operations;
  const [one, other] = dice.shuffled(answered);
  return operations.map((each) =>
    each === one && each.answer && other?.answer
      ? { ...each, answer: { ...each.answer, result: other.answer.result } }
      : each,
  );
}

it('an update to what is there already may take place later, where it changes something', () => {
  const shown = (enabled: boolean, mark: string): KeyResult => ({
    is: 'version',
    version: 'v0',
    enabled,
    mark,
  });
  const answered = (returned: number, result: KeyResult) => ({ returned, result });
  const operations: KeyOperation[] = [
    { id: 0, call: create('a'), invoked: 0, answer: answered(5, shown(true, 'a')) },
    { id: 1, call: update('c'), invoked: 6, answer: answered(10, shown(true, 'c')) },
    { id: 2, call: update('d', false), invoked: 20, answer: answered(30, shown(false, 'd')) },
    // Sent while the one before is on its way; what it asks for is there still.
    { id: 3, call: update('c'), invoked: 25, answer: answered(40, shown(true, 'c')) },
    { id: 4, call: ask('delete'), invoked: 50, answer: answered(60, shown(true, 'c')) },
  ];
  expect(judgeKey(operations)).toEqual({ kind: 'linearizable' });
});

it(`says what trying every order says (seed ${SEED})`, () => {
  const dice = new Dice(SEED);
  const count = { right: 0, wrong: 0 };
  for (let round = 0; round < 4_000; round += 1) {
    const operations = randomHistory(dice);
    const right = byDefinition(keyModelFor(operations), operations);
    count[right ? 'right' : 'wrong'] += 1;
    const { kind } = judgeKey(operations);
    if ((kind === 'linearizable') !== right) {
      throw new Error(
        `seed ${SEED}: ${kind} but ${right ? 'right' : 'wrong'}: ${JSON.stringify(operations)}`,
      );
    }
  }
  // Both kinds were there to be told apart.
  expect(count.right).toBeGreaterThan(500);
  expect(count.wrong).toBeGreaterThan(500);
});
