// CBOR (RFC 8949) for what the instances store and send each other. Bytes come back as Buffers whatever they were, so
// that a value that was encoded and decoded once encodes the same ever after.
// Without the package's addon: it takes a tenth of a microsecond off a record in a list and nothing off one by itself,
// and its loading cost more than anything decoded later gave back.
import { Encoder } from 'cbor-x/index-no-eval';

const codec = new Encoder({ useRecords: false, variableMapSize: true, tagUint8Array: false });

/** Encodes plain objects, arrays, strings, finite numbers, booleans, null and bytes. */
export function encode(value: unknown): Buffer {
  return codec.encode(value);
}

/** Decodes what {@link encode} made; the caller vouches for the type. Throws on malformed input. */
export function decode(bytes: Uint8Array): unknown {
  return codec.decode(bytes);
}
