// The house: which room may import which. A sideways arrow means that the work belongs one room higher.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const root = resolve(__dirname, '../../src');

/** Rooms by path prefix, longest first, and what each may import besides `values` and itself. */
const table: readonly (readonly [room: string, mayImport: readonly string[]])[] = [
  ['cli', ['fabric', 'security-domain']],
  ['fabric/main.ts', ['fabric']],
  // The second half of main.ts, loaded while the instances start.
  ['fabric/answering.ts', ['fabric']],
  ['fabric/control', ['fabric/meter', 'fabric/pools', 'fabric/view', 'fabric/provider', 'fabric/resources']],
  ['fabric/login', ['fabric/meter', 'fabric/pools', 'fabric/view']],
  ['fabric/doorway', ['fabric/meter', 'fabric/pools', 'fabric/view']],
  ['fabric/provider', ['fabric/pools', 'fabric/resources']],
  // Pure: what there is on the control plane, and what may become of it.
  ['fabric/resources', []],
  ['fabric/pools', ['fabric/view', 'fabric/healer']],
  // A child process that is told nothing of the pools.
  ['fabric/storage', []],
  ['fabric/view', []],
  ['fabric/healer', []],
  // Records and money: no process, no port.
  ['fabric/meter', []],
  ['instance/main.ts', ['instance']],
  // Loads what an instance does, and measures it.
  ['instance/measure.ts', ['instance']],
  // Loads addon and module as an instance would, for who wonders whether one could.
  ['instance/check-module.ts', ['instance']],
  ['instance/api', ['instance/hsm', 'instance/faults']],
  [
    'instance/hsm',
    ['instance/model', 'instance/partition', 'instance/replication', 'instance/store', 'security-domain'],
  ],
  ['instance/partition', ['instance/pkcs11']],
  // Pure but for who asks: rules, dice and what comes of them.
  ['instance/faults', []],
  ['instance/model', []],
  ['instance/pkcs11', []],
  ['instance/replication', []],
  ['instance/store', []],
  // The library of that name, for other programs: sessions shared and limited, on top of the room that loads the addon.
  ['pkcs11', ['instance/pkcs11']],
  // A page in a browser: what it shows, it asks for.
  ['console', []],
  // The library of that name, for tests of other programs: speaks to a pool from outside.
  ['harness', []],
  // Pure: shares, JWE and the file; no socket, no disk.
  ['security-domain', []],
  ['values', []],
];

const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => /\.tsx?$/.test(file));

function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  const found = [...text.matchAll(/(?:from|import|require)\s*\(?\s*'(\.[^']+)'/g)];
  return found.map(([, path]) =>
    relative(root, resolve(root, dirname(file), path ?? '')).replace(/\.js$/, '.ts'),
  );
}

function roomOf(file: string): string | undefined {
  return table.map(([room]) => room).find((room) => file === room || file.startsWith(`${room}/`));
}

describe('the house', () => {
  test('every file is in a room of the table', () => {
    expect(files.filter((file) => roomOf(file) === undefined)).toEqual([]);
  });

  test.each(table)('%s imports only what it may', (room, mayImport) => {
    const allowed = ['values', room, ...mayImport];
    const wrong = files
      .filter((file) => roomOf(file) === room)
      .flatMap((file) => importsOf(file).map((target) => ({ file, target })))
      .filter(
        ({ target }) => !allowed.some((prefix) => target === prefix || target.startsWith(`${prefix}/`)),
      );
    expect(wrong).toEqual([]);
  });

  test('the addon is loaded by one file', () => {
    const loaders = files.filter((file) => readFileSync(join(root, file), 'utf8').includes('trivet_pkcs11'));
    expect(loaders).toEqual(['instance/pkcs11/native.ts']);
  });

  test('Express stays in the API and the control plane', () => {
    const users = files.filter((file) => /from 'express'/.test(readFileSync(join(root, file), 'utf8')));
    expect(users.filter((file) => !/^(instance\/api|fabric\/(control|login))\//.test(file))).toEqual([]);
  });
});
