// Modules that the same calls are made against, each with a token of its own in a directory of its own. SoftHSM2 is
// always there; others if the distribution has them installed.
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Library, TOKEN_FLAGS } from '../../src/pkcs11/pkcs11.js';
import { makeToken, modulePath, userPin } from './place.js';

export interface Place {
  readonly library: Library;
  readonly slot: number;
  readonly pin: Buffer;
  remove(): Promise<void>;
}

export interface Module {
  readonly name: string;
  readonly installed: boolean;
  open(): Promise<Place>;
}

const directories = ['/usr/lib', ...readdirSync('/usr/lib').map((name) => `/usr/lib/${name}`), '/usr/lib64'];

function find(...names: string[]): string | undefined {
  return directories
    .flatMap((directory) => names.map((name) => join(directory, name)))
    .find((path) => existsSync(path));
}

const openCryptoki = process.env['TRIVET_OPENCRYPTOKI'];
const softokn = find('libsoftokn3.so', 'nss/libsoftokn3.so');

async function openSoftHsm(): Promise<Place> {
  const library = await Library.open(modulePath());
  const slot = await makeToken(library, 'calls');
  return { library, slot, pin: userPin, remove: () => library.close() };
}

/** NSS keeps its keys in a database, whose directory it is told when it is initialised. */
async function openNss(): Promise<Place> {
  const directory = mkdtempSync(join(tmpdir(), 'trivet-nss-'));
  const library = await Library.open(softokn ?? '', {
    parameters: `configdir='sql:${directory}' certPrefix='' keyPrefix='' secmod='secmod.db' flags=`,
  });
  // The first slot has keys of no duration only; the second has the database.
  const slot = (await library.slots())[1] ?? 0;
  const session = await library.openSession(slot, { readWrite: true });
  // A new database has an empty PIN for its officer, and none for its user.
  await session.login('SO', Buffer.alloc(0));
  await session.initPin(userPin);
  await session.logout();
  session.close();
  return {
    library,
    slot,
    pin: userPin,
    remove: async () => {
      await library.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/**
 * OpenCryptoki's software token, which needs its daemon: `npm run test:pkcs11` starts one where it disturbs nobody, and
 * says where the module is.
 */
async function openOpenCryptoki(): Promise<Place> {
  const library = await Library.open(openCryptoki ?? '');
  const [slot = 0] = await library.slots(true);
  const pin = Buffer.from('99887766');
  const place = { library, slot, pin, remove: () => library.close() };
  // Its daemon has one such token; another test file may have been here before.
  if ((await library.tokenInfo(slot)).flags & TOKEN_FLAGS.USER_PIN_INITIALIZED) return place;
  // PINs that others have set must be changed before a token is used.
  const [delivered, officers, first] = [
    Buffer.from('87654321'),
    Buffer.from('11223344'),
    Buffer.from('55667788'),
  ];
  await library.initToken(slot, delivered, 'calls');
  const session = await library.openSession(slot, { readWrite: true });
  await session.login('SO', delivered);
  await session.setPin(delivered, officers);
  await session.initPin(first);
  await session.logout();
  await session.login('USER', first);
  await session.setPin(first, pin);
  await session.logout();
  session.close();
  return place;
}

export const modules: readonly Module[] = [
  { name: 'SoftHSM2', installed: true, open: openSoftHsm },
  { name: 'OpenCryptoki', installed: openCryptoki !== undefined, open: openOpenCryptoki },
  { name: 'NSS', installed: softokn !== undefined, open: openNss },
];
