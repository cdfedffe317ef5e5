// The digest of a whole state: equal on two members that hold the same records, whatever order they came in. Knows no
// database; whoever calls it keeps the order.
import { createHash } from 'node:crypto';

/**
 * SHA-256 over the records of all tables, in ascending order of tables and then of ids, both by their UTF-8 bytes. Of
 * each: the lengths of table, id and record as three big-endian 32-bit numbers, then the three.
 *
 * What a restore has staged counts like anything else, under the names of the tables that it is staged in. After a switch
 * of tables it counts under those that it was staged for: the digest is that of a state that was written record by record.
 *
 * Records go in as they are encoded. Every member encodes what it has judged, and each entry carries a hash of its
 * encoded changes: members that have committed the same entries hold the same bytes.
 */
export class StateDigest {
  readonly #hash = createHash('sha256');

  add(table: string, id: string, record: Uint8Array): void {
    const lengths = Buffer.allocUnsafe(12);
    lengths.writeUInt32BE(Buffer.byteLength(table), 0);
    lengths.writeUInt32BE(Buffer.byteLength(id), 4);
    lengths.writeUInt32BE(record.length, 8);
    this.#hash.update(lengths).update(table).update(id).update(record);
  }

  /** Lower-case hex. Nothing can be added any more. */
  end(): string {
    return this.#hash.digest('hex');
  }
}
