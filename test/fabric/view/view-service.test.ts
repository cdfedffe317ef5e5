import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { LocalViewService, ViewError } from '../../../src/fabric/view/view-service.js';
import type { ViewOrders } from '../../../src/fabric/view/view-service.js';
import type { View } from '../../../src/values/view.js';
import { eventually, privateDirectory } from '../programs/fake-pool.js';

const directory = privateDirectory();
const services: LocalViewService[] = [];
let count = 0;

afterEach(() => {
  for (const service of services.splice(0)) service.stop();
});

function start(file: string, orders: Partial<ViewOrders> = {}): LocalViewService {
  const service = new LocalViewService(file);
  services.push(service);
  const nothing = (): void => undefined;
  service.start({
    announce: nothing,
    grant: nothing,
    decline: nothing,
    kill: nothing,
    refuse: nothing,
    troubled: nothing,
    ...orders,
  });
  return service;
}

function openAll(service: LocalViewService): void {
  for (const instance of [0, 1, 2]) service.hear({ kind: 'started', instance });
  for (const instance of [0, 1, 2]) {
    service.hear({ kind: 'opened', instance, store: `store ${instance}`, epoch: service.view?.epoch ?? 0 });
  }
}

const newFile = (): string => join(directory, `view${(count += 1)}.json`);
const read = (file: string): View => JSON.parse(readFileSync(file, 'utf8')) as View;

test('view: what is announced is on disk, for its owner only, and the next service goes on from there', () => {
  const file = newFile();
  const announced: [View, View][] = [];
  const orders = { announce: (view: View): void => void announced.push([view, read(file)]) };
  const first = start(file, orders);
  expect(first.view).toBeUndefined();
  openAll(first);
  first.hear({ kind: 'ended', instance: 0 });
  first.stop();
  const second = start(file, orders);
  expect(second.view).toEqual(read(file));
  openAll(second);
  expect(announced.map(([told, kept]) => [told.epoch, kept])).toEqual(
    announced.map(([told], n) => [n + 1, told]),
  );
  expect(announced).toHaveLength(3);
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test('view: a service that was stopped orders nothing', () => {
  const file = newFile();
  const announce = jest.fn();
  const service = start(file, { announce });
  service.stop();
  openAll(service);
  expect(announce).not.toHaveBeenCalled();
});

test('view: who hangs is told by the clock alone', async () => {
  const kill = jest.fn();
  openAll(start(newFile(), { kill }));
  await eventually(() => kill.mock.calls.length === 3);
  expect(kill).toHaveBeenCalledWith(0, 'hung: it asked for no lease any more');
});

test('view: what is no file cannot be read', () => {
  expect(() => new LocalViewService(directory)).toThrow(ViewError);
});
