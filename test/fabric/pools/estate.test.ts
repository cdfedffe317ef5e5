import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { makeDirectory, writeDurably } from '../../../src/values/durable-file.js';
import {
  EstateError,
  Places,
  lockEstate,
  openEstate,
  readRunning,
  writeRunning,
} from '../../../src/fabric/pools/estate.js';
import { privateDirectory } from '../programs/fake-pool.js';

const directory = privateDirectory();

test('estate: the directory is locked until it is released, and the refusal names the holder', () => {
  const places = new Places(join(directory, 'locked'));
  const lock = lockEstate(places);
  openEstate(places);
  writeRunning(places, { pid: 4711, controlPort: 1, dataPort: 2 });
  expect(() => lockEstate(places)).toThrow(EstateError);
  expect(() => lockEstate(places)).toThrow(/another fabric \(process 4711\) runs on .*locked/);
  lock.release();
  lockEstate(places).release();
});

test('estate: what the installation is stays the same', () => {
  const places = new Places(join(directory, 'same'));
  const estate = openEstate(places);
  expect(openEstate(places)).toEqual(estate);
  expect(estate.tenantId).toMatch(/^[0-9a-f-]{36}$/);
  expect(estate.tenantId).not.toBe(estate.subscriptionId);
});

test('estate: a file that is no JSON is named', () => {
  const places = new Places(join(directory, 'broken'));
  mkdirSync(places.own('.'), { recursive: true });
  writeFileSync(places.own('running.json'), '{');
  expect(() => readRunning(places)).toThrow(/running\.json cannot be read/);
});

test('durable file: content and mode are replaced as one, leftovers of a killed writer included', () => {
  const file = join(directory, 'file');
  writeFileSync(`${file}.new`, 'left over');
  chmodSync(`${file}.new`, 0o644);
  writeDurably(file, 'first', 0o600);
  writeDurably(file, 'second', 0o600);
  expect(readFileSync(file, 'utf8')).toBe('second');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(existsSync(`${file}.new`)).toBe(false);
});

test('durable file: directories are for their owner only, parents included', () => {
  makeDirectory(join(directory, 'a', 'b', 'c'));
  makeDirectory(join(directory, 'a', 'b', 'c'));
  for (const made of ['a', 'a/b', 'a/b/c']) expect(statSync(join(directory, made)).mode & 0o777).toBe(0o700);
  expect(readdirSync(join(directory, 'a'))).toEqual(['b']);
});
