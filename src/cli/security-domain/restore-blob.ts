// `trivet security-domain restore-blob`: from a quorum of custodians to what an empty HSM takes.
import { randomBytes } from 'node:crypto';
import { makeRestoreBlob } from '../../security-domain/restore-blob.js';
import { checkNew, readCertificateFile, readCustodian, readDomain, show, tell, writeNew } from './files.js';

export interface RestoreBlobOptions {
  file: string;
  exchangeCertificate: string;
  keys: string[];
  out: string;
  json?: true;
}

export function restoreBlob(options: RestoreBlobOptions): Promise<void> {
  return tell(async () => {
    checkNew(options.out);
    const file = readDomain(options.file);
    const exchange = readCertificateFile(options.exchangeCertificate);
    const keys = options.keys.map(readCustodian);
    const blob = await makeRestoreBlob({ file, keys, exchange, random: randomBytes });
    writeNew(options.out, blob);
    const items = file.encData.data.map(({ tag }) => tag);
    show(options, { out: options.out, exchangeCertificate: exchange.thumbprint, items }, [
      `${options.out} is ready for the HSM with the exchange certificate ${exchange.thumbprint}.`,
      'Only that HSM can open it, and only until it is active or gives out another certificate.',
    ]);
  });
}
