/** @jest-environment ./test/native/token-environment.cjs */
// The snippets of docs/pkcs11.md: those of one library are a program. What they make is checked by Node.
import { execFile } from 'node:child_process';
import { createDecipheriv, createHash, randomBytes, verify } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { Library } from '../../src/pkcs11/pkcs11.js';
import { ecPublicKey } from '../instance/pkcs11/keys.js';
import { makeDirectory, type Directory } from '../native/program.js';
import { makeToken, modulePath, userPin } from './place.js';

const root = resolve(__dirname, '../..');
const guide = readFileSync(join(root, 'docs/pkcs11.md'), 'utf8');
const snippets = [...guide.matchAll(/^```js\n\/\/ (\S+)\n([^]*?)^```$/gm)].map(([, library, code]) => ({
  library: library ?? '',
  code: code ?? '',
}));

const ofLibrary = (wanted: string): string[] =>
  snippets.filter(({ library }) => library === wanted).map(({ code }) => code);

const SHOW = `
const shown = { ecPoint, message, signature, found, value, iv, encrypted };
console.log(JSON.stringify(shown, (name, item) => (item?.type === 'Buffer' ? Buffer.from(item.data).toString('hex') : item)));
`;

let directory: Directory;

beforeAll(() => {
  directory = makeDirectory();
});

afterAll(() => directory.remove());

/** From the root: there `trivet/pkcs11` is this package. */
async function runProgram(code: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const place = process.env['SOFTHSM2_CONF'];
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', code], {
    cwd: root,
    env: {
      ...process.env,
      SOFTHSM2_CONF: place,
      MODULE: modulePath(),
      PIN: userPin.toString(),
      ...env,
    },
    timeout: 60_000,
  });
  return stdout;
}

async function freshToken(): Promise<void> {
  const library = await Library.open(modulePath());
  const old = (await library.slots(true)).find((slot) => library.tokenInfoSync(slot).label === 'guide');
  if (old === undefined) {
    await makeToken(library, 'guide');
  } else {
    await library.initToken(old, Buffer.from('so-pin-1'), 'guide');
    const session = await library.openSession(old, { readWrite: true });
    await session.login('SO', Buffer.from('so-pin-1'));
    await session.initPin(userPin);
    session.close();
  }
  await library.close();
}

test('every task is there for each library', () => {
  const libraries = ['trivet/pkcs11', 'pkcs11js', 'graphene-pk11'];
  const tasks = guide
    .split('\n### ')
    .slice(1)
    .map((task) => task.split('\n## ')[0] ?? '');
  expect(tasks.length).toBeGreaterThanOrEqual(6);
  for (const task of tasks) {
    expect([...task.matchAll(/^```js\n\/\/ (\S+)$/gm)].map(([, library]) => library)).toEqual(libraries);
  }
  expect(new Set(snippets.map(({ library }) => library))).toEqual(new Set([...libraries, 'streams']));
});

test.each(['trivet/pkcs11', 'pkcs11js', 'graphene-pk11'])(
  'the program for %s does what it says',
  async (library) => {
    await freshToken();
    const shown = JSON.parse(await runProgram([...ofLibrary(library), SHOW].join('\n'))) as Record<
      string,
      string
    >;
    const bytes = (name: string): Buffer => Buffer.from(shown[name] ?? '', 'hex');
    const key = {
      key: ecPublicKey('P-256', bytes('ecPoint').subarray(2)),
      dsaEncoding: 'ieee-p1363' as const,
    };
    const message = Buffer.from('the same task in each');
    expect(bytes('message')).toEqual(message);
    expect(verify('sha256', message, key, bytes('signature'))).toBe(true);
    expect(shown['found']).toEqual(['signer']);
    const encrypted = bytes('encrypted');
    const cipher = createDecipheriv('aes-256-gcm', bytes('value'), bytes('iv'));
    cipher.setAuthTag(encrypted.subarray(-16));
    expect(Buffer.concat([cipher.update(encrypted.subarray(0, -16)), cipher.final()])).toEqual(message);
  },
);

test('data in parts goes through a pipeline', async () => {
  await freshToken();
  const file = join(directory.path, 'file');
  const data = randomBytes(200_000);
  writeFileSync(file, data);
  const own = ofLibrary('trivet/pkcs11');
  const program = [
    ...own.slice(0, -1),
    // With an IV that is known here.
    ofLibrary('streams')
      .join('\n')
      .replace("mechanism('AES_CBC_PAD', randomBytes(16))", "mechanism('AES_CBC_PAD', Buffer.alloc(16, 1))"),
    'console.log(JSON.stringify({ checksum: checksum.toString("hex"), value: value.toString("hex") }));',
    own.at(-1),
  ];
  const shown = JSON.parse(await runProgram(program.join('\n'), { FILE: file })) as Record<string, string>;
  expect(shown['checksum']).toBe(createHash('sha256').update(data).digest('hex'));
  const cipher = createDecipheriv(
    'aes-256-cbc',
    Buffer.from(shown['value'] ?? '', 'hex'),
    Buffer.alloc(16, 1),
  );
  const back = Buffer.concat([cipher.update(readFileSync(`${file}.encrypted`)), cipher.final()]);
  expect(back.equals(data)).toBe(true);
});
