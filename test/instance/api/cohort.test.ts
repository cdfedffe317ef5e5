import { createCohort } from '../../../src/instance/api/cohort.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('cohort', () => {
  it('what comes in one turn is done together, in order, and once', async () => {
    const done: number[][] = [];
    const take = createCohort<number>((items) => done.push([...items]));
    take(1);
    take(2);
    expect(done).toEqual([]);
    await turn();
    take(3);
    await turn();
    await turn();
    expect(done).toEqual([[1, 2], [3]]);
  });

  it('what comes while the others are done waits for the next turn', async () => {
    const done: number[][] = [];
    const take = createCohort<number>((items) => {
      done.push([...items]);
      if (items.includes(1)) take(2);
    });
    take(1);
    await turn();
    expect(done).toEqual([[1]]);
    await turn();
    expect(done).toEqual([[1], [2]]);
  });
});
