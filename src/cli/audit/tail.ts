// `trivet audit tail`: the newest records of a pool's audit logs.
import * as z from 'zod';
import { CommandError } from '../failure.js';
import { filesOf, findLogs, type PoolOptions } from './logs.js';

export interface TailOptions extends PoolOptions {
  lines: number;
  instance?: string;
  json?: true;
}

interface Shown {
  readonly instance: number;
  readonly line: string;
  readonly time: string;
}

export function tailAudit(options: TailOptions): void {
  const { pool, logs } = findLogs(options);
  const chosen = logs.filter(
    ({ instance }) => options.instance === undefined || String(instance) === options.instance,
  );
  if (chosen.length === 0)
    throw new CommandError(`the pool ${pool} has no instance ${options.instance ?? ''}`);
  const newest = chosen
    .flatMap(({ instance, directory }) => lastOf(instance, directory, options.lines))
    .sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0))
    .slice(-options.lines);
  for (const shown of newest) process.stdout.write(`${options.json ? shown.line : inWords(shown)}\n`);
}

function lastOf(instance: number, directory: string, count: number): Shown[] {
  let lines: string[] = [];
  for (const file of [...filesOf(directory)].reverse()) {
    // What follows the last line feed is being written, or was torn.
    lines = [...file.read().toString('utf8').split('\n').slice(0, -1), ...lines];
    if (lines.length >= count) break;
  }
  return lines.slice(-count).map((line) => ({ instance, line, time: read(line).time }));
}

const shape = z.object({
  time: z.string().catch(''),
  category: z.string().catch('?'),
  operationName: z.string().optional().catch(undefined),
  httpStatusCode: z.number().optional().catch(undefined),
  resultDescription: z.string().optional().catch(undefined),
  requestUri: z.string().optional().catch(undefined),
  identity: z.string().optional().catch(undefined),
});

// Also lines that somebody has spoilt: this shows what there is, `verify` judges it.
function read(line: string): z.infer<typeof shape> {
  try {
    return shape.parse(JSON.parse(line));
  } catch {
    return { time: '', category: 'not a record' };
  }
}

function inWords({ instance, line }: Shown): string {
  const { time, category, operationName, httpStatusCode, resultDescription, requestUri, identity } =
    read(line);
  const [, caller] = /"objectidentifier":"([^"]*)"/.exec(identity ?? '') ?? [];
  const words = [
    time,
    String(instance),
    operationName ?? category,
    httpStatusCode === undefined ? '' : String(httpStatusCode),
    resultDescription ?? '',
    caller ?? '',
    requestUri ?? '',
  ];
  // What somebody wrote into a file must not speak to a terminal.
  return words
    .filter((word) => word !== '')
    .join('  ')
    .replaceAll(/\p{Cc}/gu, '?');
}
