import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { destroyPool, hasFiles } from '../../../src/fabric/pools/destroy-pool.js';
import { eventually, privateDirectory } from '../programs/fake-pool.js';

const directory = privateDirectory();
const SECRET = Buffer.alloc(3 << 20, 'secret');

function makePool(name: string): string[] {
  const files = [
    'pool.json',
    'instances/0/token/object',
    'instances/1/store.db',
    'instances/1/store.db-wal',
  ].map((file) => join(directory, name, file));
  for (const file of files) {
    mkdirSync(join(file, '..'), { recursive: true });
    writeFileSync(file, file.endsWith('.json') ? '{}' : SECRET);
  }
  mkdirSync(join(directory, name, 'instances/2'), { recursive: true });
  return files;
}

function content(fd: number): Buffer {
  const bytes = Buffer.alloc(fstatSync(fd).size);
  readSync(fd, bytes, 0, bytes.length, 0);
  return bytes;
}

test('destroy: every file is overwritten in its place, and nothing is left', async () => {
  const open = makePool('whole').map((file) => openSync(file, 'r'));
  const sizes = open.map((fd) => fstatSync(fd).size);
  expect(hasFiles(directory, 'whole')).toBe(true);
  expect(await destroyPool(directory, 'whole', () => true)).toBe(true);
  expect(open.map((fd) => content(fd).every((byte) => byte === 0))).toEqual(open.map(() => true));
  // Overwritten, not cut short: what was there would still be in its blocks.
  expect(open.map((fd) => fstatSync(fd).size)).toEqual(sizes);
  open.forEach((fd) => closeSync(fd));
  expect(existsSync(join(directory, 'whole'))).toBe(false);
  expect(hasFiles(directory, 'whole')).toBe(false);
  expect(await destroyPool(directory, 'whole', () => true)).toBe(true);
});

test('destroy: it may be cut off anywhere, and is gone on with', async () => {
  makePool('cut');
  for (let steps = 1; hasFiles(directory, 'cut'); steps += 1) {
    let left = steps;
    const done = await destroyPool(directory, 'cut', () => left-- > 0);
    if (!done) expect(existsSync(join(directory, 'cut'))).toBe(true);
    expect(steps).toBeLessThan(20);
  }
  expect(await destroyPool(directory, 'cut', () => true)).toBe(true);
  expect(existsSync(join(directory, 'cut'))).toBe(false);
});

test('destroy: what a link points to is not ours', async () => {
  makePool('linked');
  const outside = join(directory, 'outside');
  writeFileSync(outside, 'mine');
  symlinkSync(outside, join(directory, 'linked/instances/0/link'));
  expect(await destroyPool(directory, 'linked', () => true)).toBe(true);
  expect(readFileSync(outside, 'utf8')).toBe('mine');
});

test('destroy: nothing is touched while a process holds a directory', async () => {
  const [file = ''] = makePool('held').slice(1);
  const lock = join(directory, 'held/instances/1/lock');
  const holder = spawn('flock', ['--no-fork', lock, 'sleep', '600']);
  await eventually(() => existsSync(lock));
  // The file is there a moment before it is locked.
  await eventually(async () => {
    const look = spawn('flock', ['--nonblock', lock, 'true']);
    const [code] = (await once(look, 'exit')) as [number];
    return code !== 0;
  });
  await expect(destroyPool(directory, 'held', () => true)).rejects.toThrow(/instances\/1 is in use/);
  expect(readFileSync(file).equals(SECRET)).toBe(true);
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  expect(await destroyPool(directory, 'held', () => true)).toBe(true);
});
