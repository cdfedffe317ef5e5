// Attributes by name: their numbers, the kinds of their values, and how templates are encoded for the addon.
import { CKR } from './constants.js';
import { Pkcs11Error } from './error.js';

type Kind = 'bool' | 'ulong' | 'bytes' | 'utf8' | 'template' | 'mechanisms';

/** Every attribute that has a name here: its `CKA` number and the kind of its value. */
export const attributes = {
  class: [0x0, 'ulong'],
  token: [0x1, 'bool'],
  private: [0x2, 'bool'],
  label: [0x3, 'utf8'],
  application: [0x10, 'utf8'],
  value: [0x11, 'bytes'],
  objectId: [0x12, 'bytes'],
  certificateType: [0x80, 'ulong'],
  issuer: [0x81, 'bytes'],
  serialNumber: [0x82, 'bytes'],
  trusted: [0x86, 'bool'],
  checkValue: [0x90, 'bytes'],
  keyType: [0x100, 'ulong'],
  certificateCategory: [0x87, 'ulong'],
  url: [0x89, 'utf8'],
  subject: [0x101, 'bytes'],
  id: [0x102, 'bytes'],
  sensitive: [0x103, 'bool'],
  encrypt: [0x104, 'bool'],
  decrypt: [0x105, 'bool'],
  wrap: [0x106, 'bool'],
  unwrap: [0x107, 'bool'],
  sign: [0x108, 'bool'],
  signRecover: [0x109, 'bool'],
  verify: [0x10a, 'bool'],
  verifyRecover: [0x10b, 'bool'],
  derive: [0x10c, 'bool'],
  startDate: [0x110, 'bytes'],
  endDate: [0x111, 'bytes'],
  modulus: [0x120, 'bytes'],
  modulusBits: [0x121, 'ulong'],
  publicExponent: [0x122, 'bytes'],
  privateExponent: [0x123, 'bytes'],
  prime1: [0x124, 'bytes'],
  prime2: [0x125, 'bytes'],
  exponent1: [0x126, 'bytes'],
  exponent2: [0x127, 'bytes'],
  coefficient: [0x128, 'bytes'],
  publicKeyInfo: [0x129, 'bytes'],
  valueLen: [0x161, 'ulong'],
  extractable: [0x162, 'bool'],
  local: [0x163, 'bool'],
  neverExtractable: [0x164, 'bool'],
  alwaysSensitive: [0x165, 'bool'],
  keyGenMechanism: [0x166, 'ulong'],
  modifiable: [0x170, 'bool'],
  copyable: [0x171, 'bool'],
  destroyable: [0x172, 'bool'],
  ecParams: [0x180, 'bytes'],
  ecPoint: [0x181, 'bytes'],
  alwaysAuthenticate: [0x202, 'bool'],
  wrapWithTrusted: [0x210, 'bool'],
  wrapTemplate: [0x40000211, 'template'],
  unwrapTemplate: [0x40000212, 'template'],
  deriveTemplate: [0x40000213, 'template'],
  allowedMechanisms: [0x40000600, 'mechanisms'],
} as const satisfies Record<string, readonly [number, Kind]>;

export type AttributeName = keyof typeof attributes;

interface GivenValues {
  bool: boolean;
  ulong: number;
  bytes: Uint8Array;
  utf8: string;
  template: Template;
  mechanisms: readonly number[];
}

interface ReadValues extends GivenValues {
  bytes: Buffer;
  template: AttributeValues<AttributeName>;
  mechanisms: number[];
}

type KindOf<N extends AttributeName> = (typeof attributes)[N][1];

/** An attribute that has no name here, such as a vendor's. */
export interface VendorAttribute {
  readonly type: number;
  readonly value: boolean | number | Uint8Array;
}

/** What is not given, or given as `undefined`, is not in the template. */
export type Template = { readonly [N in AttributeName]?: GivenValues[KindOf<N>] | undefined } & {
  readonly vendor?: readonly VendorAttribute[] | undefined;
};

/** What was read; `undefined` for attributes that the object does not have. */
export type AttributeValues<N extends AttributeName> = { -readonly [K in N]?: ReadValues[KindOf<K>] };

// Shared with native/p11/template.h.
const enum Encoding {
  Bool = 1,
  Ulong = 2,
  Bytes = 3,
  Template = 4,
  Mechanisms = 5,
}

// Shared with native/addon/values.cc.
const SENSITIVE = 1;
const ABSENT = 2;
const NESTED = 3;

// The addon checks both again. Here they end a template that contains itself.
const DEPTH_MAX = 4;
const BYTES_MAX = 1024 * 1024;

const HEAD_LENGTH = 9;
const ULONG_LENGTH = 8;

interface Field {
  readonly type: number;
  readonly encoding: Encoding;
  readonly length: number;
  readonly value: boolean | number | Uint8Array | string | Field[] | readonly number[];
}

/**
 * Encodes a template for the addon. The answer holds whatever secrets the template holds: wipe it after use.
 * `functionName` is the function on whose behalf sizes are refused.
 */
export function encodeTemplate(template: Template, functionName: string): Buffer {
  const fields = fieldsOf(template, functionName, 0);
  const length = lengthOf(fields);
  if (length > BYTES_MAX) throw new Pkcs11Error(CKR.ARGUMENTS_BAD, functionName);
  const encoded = Buffer.allocUnsafe(length);
  write(encoded, 0, fields);
  return encoded;
}

function fieldsOf(template: Template, functionName: string, depth: number): Field[] {
  if (depth >= DEPTH_MAX) throw new Pkcs11Error(CKR.ARGUMENTS_BAD, functionName);
  if (typeof template !== 'object' || (template as unknown) === null) {
    throw new TypeError('a template must be an object');
  }
  const fields: Field[] = [];
  for (const [name, value] of Object.entries(template) as [string, unknown][]) {
    if (value === undefined) continue;
    if (name === 'vendor') {
      for (const attribute of value as readonly VendorAttribute[]) fields.push(vendorField(attribute));
      continue;
    }
    if (!isAttributeName(name)) throw new TypeError(`no such attribute: ${name}`);
    const [type, kind] = attributes[name];
    fields.push(fieldOf(name, type, kind, value, functionName, depth));
  }
  return fields;
}

function isAttributeName(name: string): name is AttributeName {
  return Object.hasOwn(attributes, name);
}

function fieldOf(
  name: string,
  type: number,
  kind: Kind,
  value: unknown,
  functionName: string,
  depth: number,
): Field {
  switch (kind) {
    case 'bool':
      if (typeof value !== 'boolean') break;
      return { type, encoding: Encoding.Bool, length: 1, value };
    case 'ulong':
      if (!isUlong(value)) break;
      return { type, encoding: Encoding.Ulong, length: ULONG_LENGTH, value };
    case 'bytes':
      if (!(value instanceof Uint8Array)) break;
      return { type, encoding: Encoding.Bytes, length: value.length, value };
    case 'utf8':
      if (typeof value !== 'string') break;
      return { type, encoding: Encoding.Bytes, length: Buffer.byteLength(value), value };
    case 'mechanisms':
      if (!Array.isArray(value) || !value.every(isUlong)) break;
      return { type, encoding: Encoding.Mechanisms, length: value.length * ULONG_LENGTH, value };
    case 'template': {
      const nested = fieldsOf(value as Template, functionName, depth + 1);
      return { type, encoding: Encoding.Template, length: lengthOf(nested), value: nested };
    }
  }
  throw new TypeError(`the value of the attribute ${name} must be of the kind ${kind}`);
}

function vendorField({ type, value }: VendorAttribute): Field {
  if (!isUlong(type) || type > 0xffffffff)
    throw new TypeError('an attribute type is an unsigned 32-bit integer');
  if (typeof value === 'boolean') return { type, encoding: Encoding.Bool, length: 1, value };
  if (isUlong(value)) return { type, encoding: Encoding.Ulong, length: ULONG_LENGTH, value };
  if (value instanceof Uint8Array) return { type, encoding: Encoding.Bytes, length: value.length, value };
  throw new TypeError('the value of a vendor attribute must be a boolean, a number or bytes');
}

function isUlong(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function lengthOf(fields: readonly Field[]): number {
  return fields.reduce((sum, field) => sum + HEAD_LENGTH + field.length, 4);
}

function write(into: Buffer, start: number, fields: readonly Field[]): void {
  let at = into.writeUInt32LE(fields.length, start);
  for (const field of fields) {
    at = into.writeUInt32LE(field.type, at);
    at = into.writeUInt8(field.encoding, at);
    at = into.writeUInt32LE(field.length, at);
    writeValue(into, at, field);
    at += field.length;
  }
}

function writeValue(into: Buffer, at: number, { encoding, value }: Field): void {
  if (typeof value === 'boolean') into.writeUInt8(value ? 1 : 0, at);
  else if (typeof value === 'number') writeUlong(into, at, value);
  else if (typeof value === 'string') into.write(value, at);
  else if (value instanceof Uint8Array) into.set(value, at);
  else if (encoding === Encoding.Template) write(into, at, value as Field[]);
  else (value as readonly number[]).forEach((number, i) => writeUlong(into, at + i * ULONG_LENGTH, number));
}

function writeUlong(into: Buffer, at: number, value: number): void {
  into.writeUInt32LE(value % 0x100000000, at);
  into.writeUInt32LE(Math.floor(value / 0x100000000), at + 4);
}

const nameOfType = new Map<number, AttributeName>(
  (Object.keys(attributes) as AttributeName[]).map((name) => [attributes[name][0], name]),
);

/**
 * Decodes what the addon read. Bytes are views of `encoded`. Attributes that the token keeps to itself are refused
 * with CKR_ATTRIBUTE_SENSITIVE unless `omitSensitive`.
 */
export function decodeAttributes(encoded: Buffer, omitSensitive: boolean): AttributeValues<AttributeName> {
  const values: Partial<Record<AttributeName, unknown>> = {};
  const count = encoded.readUInt32LE(0);
  let at = 4;
  for (let i = 0; i < count; i += 1) {
    const name = nameOfType.get(encoded.readUInt32LE(at));
    const state = encoded.readUInt8(at + 4);
    const length = encoded.readUInt32LE(at + 5);
    at += HEAD_LENGTH;
    const bytes = encoded.subarray(at, at + length);
    at += length;
    if (state === SENSITIVE && !omitSensitive) {
      throw new Pkcs11Error(CKR.ATTRIBUTE_SENSITIVE, 'C_GetAttributeValue');
    }
    if (name === undefined || state === SENSITIVE || state === ABSENT) continue;
    values[name] =
      state === NESTED ? decodeAttributes(bytes, omitSensitive) : valueOf(attributes[name][1], bytes);
  }
  return values as AttributeValues<AttributeName>;
}

function valueOf(kind: Kind, bytes: Buffer): ReadValues[Kind] | undefined {
  switch (kind) {
    case 'bool':
      return bytes.length === 1 && bytes[0] !== 0;
    case 'ulong':
      return bytes.length === ULONG_LENGTH ? readUlong(bytes, 0) : undefined;
    case 'bytes':
      return bytes;
    case 'utf8':
      return bytes.toString('utf8');
    case 'mechanisms':
      return Array.from({ length: Math.floor(bytes.length / ULONG_LENGTH) }, (_, i) =>
        readUlong(bytes, i * ULONG_LENGTH),
      );
    case 'template':
      return {};
  }
}

// CK_UNAVAILABLE_INFORMATION: all bits set, as SoftHSM2 answers for an unknown generation mechanism.
function readUlong(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 0x100000000;
}
