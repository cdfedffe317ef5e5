// What is due while some of it cannot be done.
import { pino } from 'pino';
import type { Hsm } from '../../../src/instance/hsm/hsm.js';
import { Schedule } from '../../../src/instance/hsm/schedule.js';
import type { Due } from '../../../src/instance/model/keys/due.js';
import type { Mutation } from '../../../src/instance/model/mutation.js';

const logger = pino({ level: 'silent' });

/** An HSM with purges that are due, in the order of their names; those of `stuck` names fail. */
function hsmWithDue(names: readonly string[], stuck: (name: string) => boolean) {
  const due = new Map(names.map((name): [string, Due] => [`0/${name}`, { name, time: 0, kind: 'purge' }]));
  const asked: string[] = [];
  const hsm = {
    now: () => 1,
    state: {
      range: (_table: string, after: string, limit: number) =>
        [...due].filter(([id]) => id > after).slice(0, limit),
    },
    submit: ({ name }: Mutation & { name: string }) => {
      asked.push(name);
      if (stuck(name)) return Promise.reject(new Error('cannot be done'));
      due.delete(`0/${name}`);
      return Promise.resolve();
    },
  };
  return { hsm: hsm as unknown as Hsm, asked, due };
}

const numbered = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, place) => `${prefix}${String(place).padStart(4, '0')}`);

test('whatever cannot be done holds up nothing behind it, and is tried again later', async () => {
  const names = [...numbered('a', 120), ...numbered('b', 70)];
  const { hsm, asked, due } = hsmWithDue(names, (name) => name.startsWith('a'));
  const schedule = new Schedule(hsm, () => true, logger);
  for (let look = 0; look < 6; look += 1) await schedule.look();
  expect([...due.values()].filter(({ name }) => name.startsWith('b'))).toEqual([]);
  expect(asked.filter((name) => name.startsWith('a'))).toEqual(numbered('a', 120));
  for (let look = 0; look < 40; look += 1) await schedule.look();
  expect(asked.filter((name) => name === 'a0000')).toHaveLength(2);
});

test('when a member is lost the rest waits for it, and nothing is taken for failed', async () => {
  let inSync = true;
  const { hsm, asked } = hsmWithDue(numbered('k', 10), () => {
    inSync = false;
    return true;
  });
  const schedule = new Schedule(hsm, () => inSync, logger);
  await schedule.look();
  expect(asked).toEqual(['k0000']);
  inSync = true;
  await schedule.look();
  expect(asked).toEqual(['k0000', 'k0001']);
});

test('a member that may not propose, or is leaving, does not look at the state', async () => {
  const { hsm, asked } = hsmWithDue(numbered('k', 1), () => false);
  const closed = {
    ...hsm,
    state: {
      range: () => {
        throw new Error('the store is closed');
      },
    },
  } as unknown as Hsm;
  await new Schedule(closed, () => false, logger).look();
  expect(asked).toEqual([]);
});
