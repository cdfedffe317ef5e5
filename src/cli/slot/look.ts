// Looks into a token through graphene-pk11, in a process of its own: the module's configuration is in its environment,
// the PIN on its standard input, and what it finds on its standard output. Reads no attribute that holds a value.
import { readFileSync } from 'node:fs';
import { KeyType, Module, ObjectClass, SessionFlag, type ITemplate, type SessionObject } from 'graphene-pk11';

export interface TokenObject {
  readonly class: string;
  readonly label: string;
  readonly keyType?: string;
  /** Of RSA and AES keys. */
  readonly bits?: number;
  /** Those that such an object has. */
  readonly flags: Readonly<Record<string, boolean>>;
}

export interface Found {
  readonly label: string;
  readonly model: string;
  readonly objects: readonly TokenObject[];
}

const FLAGS = [
  'token',
  'private',
  'modifiable',
  'copyable',
  'sensitive',
  'alwaysSensitive',
  'extractable',
  'neverExtractable',
  'local',
  'trusted',
  'wrapWithTrusted',
  'encrypt',
  'decrypt',
  'sign',
  'verify',
  'wrap',
  'unwrap',
  'derive',
] as const;
const STANDARD_INPUT = 0;

function lookInto(modulePath: string, pin: string): Found {
  const module = Module.load(modulePath, 'PKCS#11');
  module.initialize();
  try {
    const slots = module.getSlots(true);
    if (slots.length === 0) throw new Error('there is no token');
    const slot = slots.items(0);
    const { label, model } = slot.getToken();
    const session = slot.open(SessionFlag.SERIAL_SESSION);
    session.login(pin);
    const objects: TokenObject[] = [];
    const found = session.find();
    for (let place = 0; place < found.length; place += 1) objects.push(describe(found.items(place)));
    session.close();
    objects.sort((a, b) => (a.label + a.class < b.label + b.class ? -1 : 1));
    return { label: label.trim(), model: model.trim(), objects };
  } finally {
    module.finalize();
  }
}

function describe(object: SessionObject): TokenObject {
  const flags = FLAGS.flatMap((name): [string, boolean][] => {
    const value = read(object, name);
    return typeof value === 'boolean' ? [[name, value]] : [];
  });
  const label = read(object, 'label');
  const kind = read(object, 'class');
  const keyType = read(object, 'keyType');
  const bits = bitsOf(object);
  return {
    class: (typeof kind === 'number' && ObjectClass[kind]) || 'unknown class',
    label: typeof label === 'string' ? label : '',
    ...(typeof keyType === 'number' && { keyType: KeyType[keyType] ?? String(keyType) }),
    ...(bits !== undefined && { bits }),
    flags: Object.fromEntries(flags),
  };
}

function bitsOf(object: SessionObject): number | undefined {
  const bits = read(object, 'modulusBits');
  if (typeof bits === 'number') return bits;
  const bytes = read(object, 'valueLen');
  // What was unwrapped has 0 here: SoftHSM does not tell.
  return typeof bytes === 'number' && bytes > 0 ? bytes * 8 : undefined;
}

/** Undefined for what such an object does not have. */
function read(object: SessionObject, name: keyof ITemplate): unknown {
  try {
    return object.getAttribute({ [name]: null })[name];
  } catch {
    return undefined;
  }
}

process.stdout.write(
  `${JSON.stringify(lookInto(process.argv[2] ?? '', readFileSync(STANDARD_INPUT, 'utf8')))}\n`,
);
