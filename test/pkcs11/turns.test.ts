// Whose turn it is: in order of arrival, within limits, and nobody after the end.
import { TokenError } from '../../src/pkcs11/errors.js';
import { Turns } from '../../src/pkcs11/turns.js';

const turns = (options: Partial<ConstructorParameters<typeof Turns>[0]> = {}): Turns =>
  new Turns({ placesMax: 2, waitingMax: 100, waitMsMax: 0, ...options });

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('places are given at once while there are any, then in the order of arrival', async () => {
  const line = turns();
  const order: number[] = [];
  await line.take();
  await line.take();
  const waiting = [1, 2, 3].map((name) => line.take().then(() => order.push(name)));
  await settle();
  expect({ taken: line.taken, waiting: line.waiting, order }).toEqual({ taken: 2, waiting: 3, order: [] });
  line.give();
  // Who comes now does not overtake.
  const late = line.take().then(() => order.push(4));
  line.give();
  line.give();
  line.give();
  await Promise.all([...waiting, late]);
  expect(order).toEqual([1, 2, 3, 4]);
  line.give();
  line.give();
  expect({ taken: line.taken, waiting: line.waiting }).toEqual({ taken: 0, waiting: 0 });
});

test('a full queue refuses at once', async () => {
  const line = turns({ placesMax: 1, waitingMax: 1 });
  await line.take();
  const second = line.take();
  await expect(line.take()).rejects.toMatchObject({ name: 'TokenError', code: 'QueueFull' });
  line.give();
  await second;
});

test('who has waited long enough is refused, and leaves the queue', async () => {
  const line = turns({ placesMax: 1, waitMsMax: 1 });
  await line.take();
  await expect(line.take()).rejects.toMatchObject({ code: 'TimedOut', message: 'no session in 1 ms' });
  expect(line.waiting).toBe(0);
  const patient = line.take({ waitMsMax: 0 });
  await expect(line.take({ waitMsMax: 2 })).rejects.toBeInstanceOf(TokenError);
  line.give();
  await patient;
  line.give();
  expect(line.taken).toBe(0);
});

test('a signal ends the waiting with its reason, before and after', async () => {
  const line = turns({ placesMax: 1 });
  await line.take();
  const controller = new AbortController();
  const first = line.take({ signal: controller.signal });
  const second = line.take();
  const reason = new Error('changed my mind');
  controller.abort(reason);
  await expect(first).rejects.toBe(reason);
  await expect(line.take({ signal: controller.signal })).rejects.toBe(reason);
  line.give();
  await second;
});

test('a signal that fires after the turn has come changes nothing', async () => {
  const line = turns({ placesMax: 1 });
  const controller = new AbortController();
  await line.take();
  const next = line.take({ signal: controller.signal });
  line.give();
  controller.abort();
  await next;
  expect(line.taken).toBe(1);
});

test('closing refuses who waits and who comes, and ends when the last place is back', async () => {
  const line = turns();
  await line.take();
  await line.take();
  const waiting = line.take();
  let ended = false;
  const closing = line.close().then(() => {
    ended = true;
  });
  await expect(waiting).rejects.toMatchObject({ code: 'Closed' });
  await expect(line.take()).rejects.toMatchObject({ code: 'Closed' });
  line.give();
  await settle();
  expect(ended).toBe(false);
  line.give();
  await closing;
  await line.close();
});

test('any order of coming, going and giving up keeps the number of places', async () => {
  const seed = Date.now() % 100_000;
  let state = seed;
  const random = (below: number): number => {
    state = (state * 48_271 + 11) % 2_147_483_647;
    return state % below;
  };
  const line = turns({ placesMax: 3, waitingMax: 5 });
  let inside = 0;
  let most = 0;
  const visitors = Array.from({ length: 400 }, async () => {
    const controller = new AbortController();
    for (let n = random(4); n > 0; n -= 1) await settle();
    if (random(3) === 0) setImmediate(() => controller.abort());
    try {
      await line.take({ signal: controller.signal });
    } catch {
      return false;
    }
    inside += 1;
    most = Math.max(most, inside);
    for (let n = random(3); n > 0; n -= 1) await settle();
    inside -= 1;
    line.give();
    return true;
  });
  const served = (await Promise.all(visitors)).filter(Boolean).length;
  expect({ seed, most, inside, taken: line.taken, waiting: line.waiting }).toEqual({
    seed,
    most: 3,
    inside: 0,
    taken: 0,
    waiting: 0,
  });
  expect(served).toBeGreaterThan(3);
});
