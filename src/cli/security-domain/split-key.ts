// `trivet security-domain split-key`: one custodian's key, in shares for several people.
import { randomBytes } from 'node:crypto';
import { join, parse } from 'node:path';
import { wipe } from '../../values/bytes.js';
import { readPrivateKey } from '../../security-domain/custodian.js';
import { printShare, setName } from '../../security-domain/printed-share.js';
import { checkPeople, splitKey } from '../../security-domain/split-key.js';
import { checkNew, readBytes, show, tell, writeNew } from './files.js';

export interface SplitKeyOptions {
  key: string;
  needed: number;
  of: number;
  out: string;
  json?: true;
}

export function splitKeyFile(options: SplitKeyOptions): Promise<void> {
  return tell(async () => {
    const { needed, of: total, out } = options;
    checkPeople(needed, total);
    const { name } = parse(options.key);
    const files = Array.from({ length: total }, (_, index) => join(out, `${name}.share-${index + 1}.txt`));
    checkNew(...files);
    const bytes = readBytes(options.key);
    const key = readPrivateKey(bytes, options.key);
    wipe(bytes);
    const shares = await splitKey({ key, needed, total, random: randomBytes });
    shares.forEach((share, index) => {
      writeNew(files[index] ?? '', printShare(share, name));
      wipe(share.data);
    });
    const set = setName(shares[0]?.set ?? new Uint8Array());
    show(options, { set, needed, total, shares: files }, [
      ...files,
      '',
      `Any ${needed} of these ${total} shares (set ${set}) rebuild the key. Give each to one person, try join-key once,`,
      `then destroy ${options.key} and the files here. ${name}.cer is needed beside the rebuilt key: keep it.`,
    ]);
  });
}
