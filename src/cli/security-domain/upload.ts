// `trivet security-domain upload`: a restored security domain for a pool that waits for one.
import { connectPool } from '../ask.js';
import { uploadDomain } from './call.js';
import { readBytes, show, tell } from './files.js';

export interface UploadOptions {
  dataDir: string;
  pool?: string;
  blob: string;
  json?: true;
}

export function upload(options: UploadOptions): Promise<void> {
  return tell(async () => {
    const blob = readBytes(options.blob).toString('utf8');
    const pool = await connectPool(options.dataDir, options.pool);
    await uploadDomain(pool, blob);
    show(options, { pool: pool.name, activation: 'Active' }, [
      `Pool ${pool.name} has the restored security domain and is active. Restore its keys from their backups now.`,
    ]);
  });
}
