// `trivet security-domain join-key`: a custodian's key again, out of its people's shares.
import { createPublicKey } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readShare } from '../../security-domain/printed-share.js';
import { joinKey } from '../../security-domain/split-key.js';
import { CommandError } from '../failure.js';
import {
  certificateBeside,
  checkNew,
  readBytes,
  readCertificateFile,
  show,
  tell,
  writeNew,
} from './files.js';

export interface JoinKeyOptions {
  shares: string[];
  out: string;
  json?: true;
}

export function joinKeyFile(options: JoinKeyOptions): Promise<void> {
  return tell(async () => {
    checkNew(options.out);
    const shares = options.shares.map((file) => readShare(readBytes(file).toString('utf8'), file));
    const key = await joinKey(shares);
    const certificateFile = certificateBeside(options.out);
    const certificate = existsSync(certificateFile) ? readCertificateFile(certificateFile) : undefined;
    if (certificate && !certificate.publicKey.equals(createPublicKey(key))) {
      throw new CommandError(
        `the shares are of another key than ${certificateFile}; choose the name of its certificate for --out`,
      );
    }
    writeNew(options.out, key.export({ format: 'pem', type: 'pkcs8' }).toString());
    const thumbprint = certificate?.thumbprint ?? null;
    show(options, { out: options.out, thumbprint }, [
      `${options.out} is the custodian's key again.`,
      certificate
        ? `It belongs to ${certificateFile}.`
        : `Put its certificate at ${certificateFile} before it is used.`,
    ]);
  });
}
