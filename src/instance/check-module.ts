// Loads the addon and, if one is named, a PKCS#11 module, as an instance would, and prints what came of it. A process
// of its own: a module that is none may take its process with it. Opens no token.
import type { Library as LibraryOf } from './pkcs11/library.js';

/** One line of JSON on standard output. */
export type ModuleCheck =
  /** The addon cannot be loaded. */
  | { readonly step: 'addon'; readonly problem: string }
  /** The addon can, the module cannot, or none was named. */
  | { readonly step: 'module'; readonly problem: string; readonly bootTimesMs: readonly number[] }
  | {
      readonly step: 'done';
      readonly description: string;
      /** Mechanisms that a partition needs and the module does not offer. */
      readonly missing: readonly string[];
      /** CLOCK_BOOTTIME, read several times in a row. */
      readonly bootTimesMs: readonly number[];
    };

const READINGS = 3;
const READING_MS = 5;

async function check(modulePath: string | undefined): Promise<ModuleCheck> {
  let bootTime: () => number;
  let Library: typeof LibraryOf;
  try {
    ({ bootTime } = await import('./pkcs11/native.js'));
    ({ Library } = await import('./pkcs11/library.js'));
  } catch (error) {
    return { step: 'addon', problem: wordsOf(error) };
  }
  const bootTimesMs: number[] = [];
  for (let reading = 0; reading < READINGS; reading += 1) {
    bootTimesMs.push(bootTime());
    await new Promise((resolve) => setTimeout(resolve, READING_MS));
  }
  if (modulePath === undefined) return { step: 'module', problem: 'none is named', bootTimesMs };
  try {
    const library = await Library.open(modulePath);
    const { libraryDescription, manufacturerId, libraryVersion } = await library.info();
    const description = `${libraryDescription || manufacturerId} ${libraryVersion}`;
    const [slot] = await library.slots();
    if (slot === undefined) return { step: 'module', problem: 'it offers no slot', bootTimesMs };
    const { missingFrom } = await import('./partition/mechanisms.js');
    const missing = missingFrom(await library.mechanisms(slot));
    await library.close();
    return { step: 'done', description, missing, bootTimesMs };
  } catch (error) {
    return { step: 'module', problem: wordsOf(error), bootTimesMs };
  }
}

function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return `${error.message}${cause}`;
}

void check(process.argv[2]).then((found) => process.stdout.write(`${JSON.stringify(found)}\n`));
