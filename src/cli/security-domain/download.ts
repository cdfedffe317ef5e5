// `trivet security-domain download`: the file of a running pool, for these custodians. Activates a pool that waits.
import { certificateSet } from '../../security-domain/certificates.js';
import { connectPool } from '../ask.js';
import { downloadDomain } from './call.js';
import { checkNew, readCertificateFile, show, tell, writeNew } from './files.js';

export interface DownloadOptions {
  dataDir: string;
  pool?: string;
  certificates: string[];
  quorum: number;
  out: string;
  json?: true;
}

export function download(options: DownloadOptions): Promise<void> {
  return tell(async () => {
    checkNew(options.out);
    const set = certificateSet(options.certificates.map(readCertificateFile), options.quorum);
    const pool = await connectPool(options.dataDir, options.pool);
    writeNew(options.out, await downloadDomain(pool, set));
    const { required, total } = set.quorum;
    show(options, { pool: pool.name, out: options.out, required, certificates: total }, [
      `${options.out} is the security domain of pool ${pool.name}, for ${required} of ${total} custodians.`,
      'Keep several copies of it, apart from the keys of the custodians.',
    ]);
  });
}
