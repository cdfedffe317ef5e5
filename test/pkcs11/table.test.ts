/** @jest-environment ./test/native/token-environment.cjs */
// The table of docs/pkcs11.md is what the modules do, as far as they are here. With TRIVET_WRITE_TABLE=1 their columns
// are written anew.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Pkcs11Error, Token } from '../../src/pkcs11/pkcs11.js';
import { modules, type Module } from './modules.js';
import { makeRsaPair, probes } from './probes.js';

const path = join(__dirname, '../../docs/pkcs11.md');
const HEAD = '| Call |';

type Table = Map<string, Map<string, string>>;

const cells = (line: string): string[] =>
  line
    .slice(1, -1)
    .split('|')
    .map((cell) => cell.trim());

function readTable(text: string): Table {
  const lines = text.split('\n');
  const start = lines.findIndex((line) => line.startsWith(HEAD));
  const table: Table = new Map();
  if (start < 0) return table;
  const [, ...names] = cells(lines[start] ?? '');
  for (const name of names) table.set(name, new Map());
  for (const line of lines.slice(start + 2)) {
    if (!line.startsWith('|')) break;
    const [row = '', ...values] = cells(line);
    names.forEach((name, at) => table.get(name)?.set(row, values[at] ?? ''));
  }
  return table;
}

function writeTable(text: string, table: Table): string {
  const names = [...table.keys()];
  const line = (values: readonly string[]): string => `| ${values.join(' | ')} |`;
  const rows = ['version', ...probes.map(([row]) => row)];
  const lines = [
    line(['Call', ...names]),
    `|${'---|'.repeat(names.length + 1)}`,
    ...rows.map((row) => line([row, ...names.map((name) => table.get(name)?.get(row) ?? '')])),
  ];
  const kept = text.split('\n').filter((each, at, all) => {
    const start = all.findIndex((other) => other.startsWith(HEAD));
    return start < 0 || at < start || !each.startsWith('|');
  });
  return `${kept.join('\n').trimEnd()}\n\n${lines.join('\n')}\n`;
}

async function probe(module: Module): Promise<Map<string, string>> {
  const place = await module.open();
  const token = await Token.open(place.library, { slot: place.slot, login: { pin: place.pin } });
  const column = new Map([['version', (await place.library.info()).libraryVersion]]);
  const rsa = makeRsaPair(token);
  rsa.catch(() => undefined);
  for (const [row, run] of probes) {
    column.set(row, await run({ ...place, token, rsa }).then(() => 'yes', refusal));
  }
  await token.close();
  await place.remove();
  return column;
}

/** What was refused says so; what was done otherwise than by Node is not done. */
function refusal(error: unknown): string {
  if (error instanceof Pkcs11Error)
    return error.symbol.replace('CKR_', '').toLowerCase().replaceAll('_', ' ');
  if ((error as Error).name === 'AssertionError') return 'no';
  throw error;
}

test.each(modules.filter(({ installed }) => installed))('$name does what the table says', async (module) => {
  const found = await probe(module);
  const text = readFileSync(path, 'utf8');
  const table = readTable(text);
  if (process.env['TRIVET_WRITE_TABLE'] !== undefined) {
    writeFileSync(path, writeTable(text, table.set(module.name, found)));
    return;
  }
  const documented = table.get(module.name) ?? new Map<string, string>();
  expect([...documented.keys()]).toEqual([...found.keys()]);
  // Another version may do more; the table says of which it speaks.
  if (documented.get('version') !== found.get('version')) return;
  expect(Object.fromEntries(found)).toEqual(Object.fromEntries(documented));
});
