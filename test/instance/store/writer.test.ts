// The store when its writer's thread is gone, which no call of the store can bring about.
import type { Worker } from 'node:worker_threads';
import { entries, makePlace, openStore, removePlaces } from './stores.js';

const mockWriters: Worker[] = [];

jest.mock('node:worker_threads', () => {
  const real = jest.requireActual<typeof import('node:worker_threads')>('node:worker_threads');
  return {
    ...real,
    Worker: class extends real.Worker {
      constructor(...given: ConstructorParameters<typeof real.Worker>) {
        super(...given);
        mockWriters.push(this);
      }

      // Nothing that is said reaches it: what waits for it waits until it ends.
      override postMessage(): void {
        return;
      }
    },
  };
});

afterEach(removePlaces);

test('store: a writer that has ended rejects what waits and what comes, and the store can still be closed', async () => {
  const store = await openStore(makePlace());
  const all = entries(2);
  const waiting = expect(store.append(all)).rejects.toThrow('the writer of the store has ended');
  await Promise.all(mockWriters.map((worker) => worker.terminate()));
  await waiting;
  await expect(store.append(all)).rejects.toThrow('the writer of the store has ended');
  await store.close();
});
