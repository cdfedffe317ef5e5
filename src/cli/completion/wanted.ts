// What could stand at a place of a command line: pure, from the definitions of the commands. Names that only a pool or
// a directory knows are named by their kind.
import type { Argument, Command, Option } from 'commander';

export type Kind = 'keys' | 'deleted-keys' | 'pools' | 'principals' | 'roles' | 'scopes';

export type Wanted =
  /** One of these words. */
  | { readonly kind: 'words'; readonly words: readonly string[] }
  /** The path of a file or directory. */
  | { readonly kind: 'files' }
  /** A name of this kind, looked up with the options that were given so far. */
  | { readonly kind: Kind; readonly options: NamedOptions };

/** Options by which names are looked up, as far as they are on the line. */
export interface NamedOptions {
  readonly dataDir?: string;
  readonly pool?: string;
}

const NOTHING: Wanted = { kind: 'words', words: [] };
const PARTITIONS: Wanted = { kind: 'words', words: ['0', '1', '2'] };

/** `words`: what stands after the program's name; the last, perhaps empty, is to be completed. */
export function wanted(program: Command, words: readonly string[]): Wanted {
  const last = words.at(-1) ?? '';
  const options: Record<string, string> = {};
  const path: string[] = [];
  const given: string[] = [];
  let command = program;
  let open: Option | undefined;
  for (const word of words.slice(0, -1)) {
    if (open) {
      options[open.attributeName()] = word;
      open = undefined;
    } else if (word.startsWith('-')) {
      const [name, value] = word.split(/=(.*)/s);
      const option = command.options.find((one) => one.long === name || one.short === name);
      if (option && takesValue(option)) {
        if (value === undefined) open = option;
        else options[option.attributeName()] = value;
      }
    } else {
      const next = given.length === 0 ? subcommands(command).find((one) => one.name() === word) : undefined;
      if (next) {
        command = next;
        path.push(word);
      } else given.push(word);
    }
  }
  const named = namedIn(options);
  if (open) return ofOption(open, named);
  if (last.startsWith('-')) return { kind: 'words', words: optionsOf(command) };
  const below = subcommands(command).map((one) => one.name());
  if (below.length > 0) return { kind: 'words', words: given.length === 0 ? below : [] };
  const { registeredArguments: all } = command;
  const argument = all[given.length] ?? (all.at(-1)?.variadic ? all.at(-1) : undefined);
  return argument ? ofArgument(path, argument, named, words.includes('--deleted')) : NOTHING;
}

function subcommands(command: Command): Command[] {
  return command
    .createHelp()
    .visibleCommands(command)
    .filter((one) => one.name() !== 'help');
}

function optionsOf(command: Command): string[] {
  return command
    .createHelp()
    .visibleOptions(command)
    .flatMap(({ long }) => long ?? []);
}

function takesValue({ required, optional }: Option): boolean {
  return required || optional;
}

function namedIn({ dataDir, pool }: Record<string, string>): NamedOptions {
  return { ...(dataDir !== undefined && { dataDir }), ...(pool !== undefined && { pool }) };
}

function ofOption(option: Option, options: NamedOptions): Wanted {
  if (option.argChoices) return { kind: 'words', words: option.argChoices };
  switch (option.long ?? '') {
    case '--pool':
      return { kind: 'pools', options };
    case '--principal':
      return { kind: 'principals', options };
    case '--role':
      return { kind: 'roles', options };
    case '--scope':
      return { kind: 'scopes', options };
    case '--partition':
    case '--instance':
      return PARTITIONS;
    default:
      // Files are recognised by how the help calls what the option takes.
      return /<(file|files\.\.\.|directory)>/.test(option.flags) ? { kind: 'files' } : NOTHING;
  }
}

function ofArgument(
  path: readonly string[],
  argument: Argument,
  options: NamedOptions,
  deleted: boolean,
): Wanted {
  if (argument.argChoices) return { kind: 'words', words: argument.argChoices };
  const [group = '', verb = ''] = path;
  switch (argument.name()) {
    case 'file':
      return { kind: 'files' };
    case 'principal':
      return { kind: 'principals', options };
    case 'role':
      return { kind: 'roles', options };
    case 'id':
      return group === 'partition' ? PARTITIONS : NOTHING;
    case 'name':
      if (group !== 'key' || verb === 'create' || verb === 'import') return NOTHING;
      return { kind: deleted || verb === 'recover' || verb === 'purge' ? 'deleted-keys' : 'keys', options };
    default:
      return NOTHING;
  }
}
