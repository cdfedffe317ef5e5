// The scanner of memory, on a process that holds known bytes among zeros.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { findInMemory } from './scan.js';

const SIZE = 32;
const STEP = 64 * 1024;

test('what lies among zeros is found, wherever the parts begin that are looked at together', async () => {
  // Each a little further before a boundary, whatever the boundaries are counted from.
  const secrets = Array.from({ length: 2 * SIZE }, (_, place) => ({
    name: `secret ${place}`,
    bytes: randomBytes(SIZE),
  }));
  // The process gets them with every bit turned over, and turns them back in their place: they are nowhere else. As V8
  // has small numbers, which begin with zeros.
  const program = `
    const all = Buffer.from(process.argv[1], 'hex').map((byte) => byte ^ 255);
    globalThis.kept = Buffer.alloc(${STEP * (secrets.length + 2)});
    for (let i = 0; i < ${secrets.length}; i++)
      for (let j = 0; j < ${SIZE}; j++) kept[${STEP} * (i + 1) - 2 * i + 8 * j + 4] = all[${SIZE} * i + j];
    all.fill(0);
    console.log();
    process.stdin.resume();
  `;
  const turned = Buffer.concat(secrets.map(({ bytes }) => bytes)).map((byte) => byte ^ 255);
  const holder = spawn(process.execPath, ['-e', program, Buffer.from(turned).toString('hex')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  try {
    await once(holder.stdout, 'data');
    expect(findInMemory(holder.pid ?? -1, secrets).sort()).toEqual(
      secrets.map(({ name }) => `${name} numbers`).sort(),
    );
  } finally {
    holder.stdin.end();
  }
});
