// Answers a shell: one line that says what follows (`:words` or `:files`), then a word a line. Whatever goes wrong, a
// shell that completes is told nothing of it.
import type { Command } from 'commander';
import { Places } from '../../fabric/pools/estate.js';
import { listPools } from '../../fabric/pools/pool-file.js';
import { connect, print } from '../ask.js';
import { defaultDirectory } from '../home.js';
import { openPlane } from '../key/manage.js';
import { principalsOf } from '../principal/list.js';
import { definitionsOf } from '../role/definition.js';
import { wanted, type Kind, type NamedOptions } from './wanted.js';

const PATIENCE_MS = 2_000;

export async function complete(program: Command, words: readonly string[]): Promise<void> {
  const what = wanted(program, words);
  if (what.kind === 'files') {
    print(':files');
    return;
  }
  const found = what.kind === 'words' ? what.words : await inTime(names(what.kind, what.options));
  const begun = words.at(-1) ?? '';
  print([':words', ...found.filter((word) => word.startsWith(begun))].join('\n'));
}

// Nobody waits longer for a shell.
async function inTime(looking: Promise<readonly string[]>): Promise<readonly string[]> {
  const late = new Promise<readonly string[]>((resolve) =>
    setTimeout(() => resolve([]), PATIENCE_MS).unref(),
  );
  return Promise.race([looking.catch(() => []), late]);
}

async function names(kind: Kind, { dataDir, pool }: NamedOptions): Promise<readonly string[]> {
  const directory = dataDir ?? process.env['TRIVET_HOME'] ?? defaultDirectory();
  const options = { dataDir: directory, ...(pool !== undefined && { pool }) };
  switch (kind) {
    case 'pools':
      return listPools(new Places(directory).pools);
    case 'principals':
      return (await principalsOf(await connect(directory))).map(({ name }) => name);
    case 'roles':
      return (await definitionsOf(await openPlane(options))).map(({ properties }) => properties.roleName);
    case 'keys':
    case 'deleted-keys': {
      const path = kind === 'keys' ? '/keys' : '/deletedkeys';
      const items = (await (await openPlane(options)).list(path)) as { readonly kid: string }[];
      return items.map(({ kid }) => new URL(kid).pathname.split('/')[2] ?? '');
    }
    case 'scopes':
      return ['/', '/keys', ...(await names('keys', options)).map((name) => `/keys/${name}`)];
  }
}
