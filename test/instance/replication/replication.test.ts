// The replica machine on real links: steps in order, questions and answers, members that start late.
import { Replication, type Step } from '../../../src/instance/replication/replication.js';
import { EMPTY_HEAD } from '../../../src/values/entry.js';
import type { View } from '../../../src/values/view.js';
import { clear, lineTo, station, until, type Line, type Station } from './meshes.js';

afterEach(clear);

const VIEW: View = {
  epoch: 1,
  primary: 0,
  inSync: [0, 1, 2].map((instance) => ({ instance, store: `s${instance}` })),
};

interface Taker {
  readonly station: Station;
  readonly replication: Replication;
  /** Kinds of the steps taken; judged and written at once. */
  readonly steps: string[];
  /** Questions heard; they are echoed. */
  readonly asked: unknown[];
}

/** Three members; those that dial do so over lines. Only some take their steps. */
async function three(taking: readonly number[] = [0, 1, 2]): Promise<{ takers: Taker[]; lines: Line[] }> {
  const stations = await Promise.all([0, 1, 2].map((instance) => station(instance)));
  const lines = await Promise.all(stations.map(({ mesh }) => lineTo(mesh.port)));
  const takers = stations.map((each, self) => {
    const taker: Taker = { station: each, replication: new Replication(each.mesh), steps: [], asked: [] };
    if (taking.includes(self)) void takeSteps(taker);
    void answerQuestions(taker);
    return taker;
  });
  stations.forEach(({ mesh }, self) =>
    mesh.introduce(
      self,
      stations
        .map(({ peer }) => ({ ...peer, port: lines[peer.instance]?.port ?? 0 }))
        .filter(({ instance }) => instance !== self),
    ),
  );
  await until(() => stations.every(({ heard }) => heard.length >= 2));
  return { takers, lines };
}

function begin({ replication }: Taker, instance: number): void {
  replication.start({ instance, store: `s${instance}` }, { committed: EMPTY_HEAD, tail: [] });
  replication.adopt(VIEW);
}

async function takeSteps({ replication, steps }: Taker): Promise<never> {
  for await (const step of replication.steps()) {
    steps.push(step.kind);
    take(step);
  }
  throw new Error('the steps have ended');
}

async function answerQuestions({ replication, asked }: Taker): Promise<never> {
  for await (const { from, question, reply, refuse } of replication.questions()) {
    asked.push(question);
    if (question === 'refuse me') refuse('as you wish');
    else if (question !== 'say nothing') reply({ you: from, asked: question });
  }
  throw new Error('the questions have ended');
}

function take(step: Step): void {
  switch (step.kind) {
    case 'judge':
      step.answer({ accepted: true, time: 1, mutation: step.mutation, changesHash: Buffer.alloc(32) });
      break;
    case 'append':
    case 'prepare':
      step.persisted();
      break;
    case 'cut':
      step.persisted();
      break;
    case 'commit':
    case 'answer':
    case 'refused':
    case 'outage':
    case 'unsettled':
    case 'gap':
    case 'propose':
    case 'accuse':
    case 'retired':
    case 'damaged':
    case 'standing':
      break;
  }
}

function memberOf(takers: readonly Taker[], instance: number): Taker {
  const taker = takers[instance];
  if (!taker) throw new Error(`no member ${instance}`);
  return taker;
}

describe('replication', () => {
  test('a submission at any member is judged by the primary, prepared by the others and committed by all', async () => {
    const { takers } = await three();
    takers.forEach(begin);
    await until(() => takers.every(({ replication }) => replication.inSync));
    memberOf(takers, 2).replication.submit('k1', Buffer.from('k1'));
    await until(() => takers.every(({ steps }) => steps.includes('answer')));
    expect(takers.map(({ steps }) => steps.filter((step) => step !== 'standing'))).toEqual([
      ['judge', 'append', 'commit', 'answer'],
      ['prepare', 'commit', 'answer'],
      ['prepare', 'commit', 'answer'],
    ]);
    await until(() => takers.every(({ replication }) => replication.decided));
  });

  test.each([
    ['first', [0, 1, 2]],
    ['last', [1, 2, 0]],
    ['between the others', [2, 0, 1]],
  ])('all are in sync when the primary starts %s, after the links are up', async (_when, order) => {
    const { takers } = await three();
    for (const self of order) {
      begin(memberOf(takers, self), self);
      // The start is heard of by the others, or would be, before the next one.
      await memberOf(takers, (self + 1) % 3).replication.ask(self, 'are you there?');
    }
    await until(() => takers.every(({ replication }) => replication.inSync));
    for (const { steps } of takers) expect(steps).toContain('standing');
  });

  test('what was said on a link that broke before the start counts for nothing', async () => {
    const { takers, lines } = await three();
    begin(memberOf(takers, 1), 1);
    await memberOf(takers, 1).replication.ask(0, 'are you there?');
    lines[0]?.cut();
    const primary = memberOf(takers, 0);
    await until(() => primary.station.heard.filter((what) => what === 'linked 1').length === 2);
    begin(primary, 0);
    begin(memberOf(takers, 2), 2);
    await until(() => takers.every(({ replication }) => replication.inSync));
  });

  test('a cut link is told as a change of standing, and its end too', async () => {
    const { takers, lines } = await three();
    takers.forEach(begin);
    await until(() => takers.every(({ replication }) => replication.inSync));
    const primary = memberOf(takers, 0);
    const before = primary.steps.filter((step) => step === 'standing').length;
    lines[0]?.cut();
    await until(() => !primary.replication.inSync);
    await until(() => takers.every(({ replication }) => replication.inSync));
    await until(() => primary.steps.filter((step) => step === 'standing').length >= before + 2);
  });

  test('who has just been asked again in a new view holds nothing up, however long the change has waited', async () => {
    const { takers } = await three([0]);
    takers.forEach(begin);
    const primary = takers[0]?.replication;
    if (!primary) throw new Error('no primary');
    primary.submit('m1', Buffer.of(1));
    await until(() => primary.stuck(0).length === 0 && takers[0]?.steps.includes('append') === true);
    expect(primary.stuck(1_000)).toEqual([]);
    expect(primary.stuck(6_000)).toEqual([1, 2]);
    primary.adopt({ ...VIEW, epoch: 2, inSync: VIEW.inSync.slice(0, 2) });
    expect(primary.stuck(6_100)).toEqual([]);
    expect(primary.stuck(11_000)).toEqual([]);
    expect(primary.stuck(11_200)).toEqual([1]);
  });

  test('a question is answered by the member that was asked, or refused with its reason', async () => {
    const { takers } = await three();
    const { replication } = memberOf(takers, 1);
    expect(await replication.ask(0, { any: 'thing' })).toEqual({ you: 1, asked: { any: 'thing' } });
    await expect(replication.ask(2, 'refuse me')).rejects.toThrow('as you wish');
  });

  test('a question whose link is lost before the answer is given back', async () => {
    const { takers, lines } = await three();
    const asked = memberOf(takers, 1).replication.ask(0, 'say nothing');
    await until(() => memberOf(takers, 0).asked.includes('say nothing'));
    const given = expect(asked).rejects.toThrow('the link to instance 0 was lost');
    lines[0]?.cut();
    await given;
  });

  test('a question waits for the link', async () => {
    const [a, b] = await Promise.all([station(0), station(1)]);
    const takers = [a, b].map((each): Taker => ({
      station: each,
      replication: new Replication(each.mesh),
      steps: [],
      asked: [],
    }));
    for (const taker of takers) void answerQuestions(taker);
    const answer = memberOf(takers, 1).replication.ask(0, 'early');
    a.mesh.introduce(0, [b.peer]);
    b.mesh.introduce(1, [a.peer]);
    expect(await answer).toEqual({ you: 1, asked: 'early' });
  });
});
