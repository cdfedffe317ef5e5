// Reads an attestation without our code: written from the documentation of the layout alone.
export interface Read {
  /** Values in hex by type. */
  readonly attributes: ReadonlyMap<number, string>;
  readonly signed: Buffer;
  readonly signature: Buffer;
}

export function readIndependently(blob: Buffer): Read {
  const signed = blob.subarray(0, blob.length - 256);
  expect(signed.subarray(0, 16).equals(Buffer.alloc(16))).toBe(true);
  expect(signed.readUInt32BE(16)).toBe(signed.length);
  expect(signed.readUInt32BE(20)).toBe(0);
  const count = signed.readUInt32BE(24);
  const end = 32 + signed.readUInt32BE(28);
  const attributes = new Map<number, string>();
  let at = 32;
  while (at < end) {
    const length = signed.readUInt32BE(at + 4);
    attributes.set(signed.readUInt32BE(at), signed.toString('hex', at + 8, at + 8 + length));
    at += 8 + length;
  }
  expect([at, attributes.size]).toEqual([end, count]);
  expect(signed.length - end).toBeLessThan(16);
  expect(/^(00)*$/.test(signed.toString('hex', end))).toBe(true);
  return { attributes, signed, signature: blob.subarray(blob.length - 256) };
}

/** A text, filled with zeros to 128 bytes. */
export function padded(text: string): string {
  return Buffer.from(text.padEnd(128, '\0')).toString('hex');
}
