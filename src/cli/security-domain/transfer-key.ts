// `trivet security-domain transfer-key`: the exchange certificate of a pool that waits for a security domain.
import { toPem } from '../../values/certificate.js';
import { readCertificate } from '../../security-domain/certificates.js';
import { connectPool } from '../ask.js';
import { fetchExchangeCertificate } from './call.js';
import { checkNew, show, tell, writeNew } from './files.js';

export interface TransferKeyOptions {
  dataDir: string;
  pool?: string;
  out: string;
  json?: true;
}

export function transferKey(options: TransferKeyOptions): Promise<void> {
  return tell(async () => {
    checkNew(options.out);
    const pool = await connectPool(options.dataDir, options.pool);
    const certificate = await fetchExchangeCertificate(pool);
    const { thumbprint } = readCertificate(certificate, 'the exchange certificate');
    writeNew(options.out, toPem(certificate));
    show(options, { pool: pool.name, out: options.out, exchangeCertificate: thumbprint }, [
      `${options.out} is the exchange certificate of pool ${pool.name}: ${thumbprint}`,
      'Compare this thumbprint, by another way, where the restore blob is made.',
    ]);
  });
}
