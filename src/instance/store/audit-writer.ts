// The audit log's writer: a worker thread, so that neither hashing nor the disk holds up a request. Gives each line its
// number and the hash of the one before, appends, syncs, answers. Files are only ever appended to: what a dead process
// left torn stays where it is, and the next run begins a new file.
import {
  closeSync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../../values/assert.js';
import {
  AUDIT_START,
  auditFileName,
  auditFileNumber,
  auditHash,
  auditLine,
  auditLineShape,
  type AuditHead,
  type TornEnd,
} from '../../values/audit.js';

export interface AuditWriterData {
  readonly directory: string;
  /** Bytes after which a new file is begun. */
  readonly fileMax: number;
}

/** Members of lines, in order, with a line feed between two; see `auditLine`. */
export type AuditBatch = string;

/** `head` is what stands on the disk now. */
export interface AuditAnswer {
  readonly head: AuditHead;
  /** What the last run left torn; only with the first answer. */
  readonly torn?: readonly TornEnd[];
  /** Nothing of the batch is in the log. */
  readonly error?: string;
  /** There is no room: the same batch may be sent again later. Anything else leaves the log in doubt. */
  readonly full?: boolean;
}

const LINE_FEED = 0x0a;
/** More bytes than a line has besides its own members. */
const PLACE_MAX = 160;
const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

const { directory, fileMax } = workerData as AuditWriterData;
const port = parentPort;
assert(port !== null, 'the writer runs in a worker thread');

let head: AuditHead = { sequence: 0, hash: AUDIT_START };
let fileNumber = 0;
let file: number | undefined;
let size = 0;

/** Finds where the log ended, and what is torn behind that. */
function resume(): readonly TornEnd[] {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  syncDirectory(join(directory, '..'));
  const numbers = readdirSync(directory)
    .map(auditFileNumber)
    .filter((number) => number !== undefined)
    .sort((a, b) => b - a);
  fileNumber = numbers[0] ?? 0;
  const torn: TornEnd[] = [];
  for (const number of numbers) {
    const name = auditFileName(number);
    const bytes = readFileSync(join(directory, name));
    const end = bytes.lastIndexOf(LINE_FEED);
    if (end < bytes.length - 1) {
      const rest = bytes.subarray(end + 1);
      torn.unshift({ file: name, bytes: rest.length, sha256: auditHash(rest) });
    }
    if (end < 0) continue; // that run died before its first line was whole
    head = readHead(name, bytes.subarray(bytes.lastIndexOf(LINE_FEED, end - 1) + 1, end));
    break;
  }
  return torn;
}

// A line that is whole and no record was not left by a crash. To go on from it would be to guess.
function readHead(name: string, line: Buffer): AuditHead {
  try {
    const { sequence } = auditLineShape.parse(JSON.parse(line.toString('utf8')));
    return { sequence, hash: auditHash(line) };
  } catch (cause) {
    const advice = 'keep the directory for whoever looks into it, and move it away to begin a new log';
    throw new Error(`the last line of ${name} is no record of the audit log; ${advice}`, { cause });
  }
}

function write(batch: AuditBatch): void {
  if (file === undefined || size >= fileMax) begin();
  assert(file !== undefined, 'there is a file to write to');
  let { sequence, hash } = head;
  const all = batch.split('\n');
  const room = Buffer.allocUnsafe(Buffer.byteLength(batch) + all.length * PLACE_MAX);
  let end = 0;
  for (const members of all) {
    const start = end;
    end += room.write(auditLine(++sequence, hash, members), end);
    hash = auditHash(room.subarray(start, end));
    room[end++] = LINE_FEED;
  }
  const bytes = room.subarray(0, end);
  try {
    for (let written = 0; written < bytes.length;) {
      written += writeSync(file, bytes, written, bytes.length - written, size + written);
    }
  } catch (error) {
    // A part of it may be there, and the batch will come again. If this fails too, the log is in doubt.
    ftruncateSync(file, size);
    throw error;
  }
  sync(file);
  size += bytes.length;
  head = { sequence, hash };
}

function begin(): void {
  const next = openSync(join(directory, auditFileName(fileNumber + 1)), 'wx', 0o600);
  fileNumber += 1;
  if (file !== undefined) closeSync(file);
  file = next;
  size = 0;
  syncDirectory(directory);
}

/** What a failed sync has written, nobody knows; a second one would say nothing about it. */
function sync(open: number): void {
  try {
    fdatasyncSync(open);
  } catch (cause) {
    throw new Error('the disk did not take the audit log', { cause });
  }
}

function syncDirectory(path: string): void {
  const open = openSync(path, 'r');
  try {
    fsyncSync(open);
  } finally {
    closeSync(open);
  }
}

function answerTo(batch: AuditBatch): AuditAnswer {
  try {
    write(batch);
    return { head };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return { head, error: message, full: FULL.has(code ?? '') };
  }
}

port.on('message', (message: AuditBatch | null) => {
  if (message !== null) {
    port.postMessage(answerTo(message));
    return;
  }
  if (file !== undefined) closeSync(file);
  port.close();
});
const torn = resume();
port.postMessage({ head, torn } satisfies AuditAnswer);
