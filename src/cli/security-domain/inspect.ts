// `trivet security-domain inspect`: what a security domain file tells to anybody.
import { readdirSync } from 'node:fs';
import { extname, join } from 'node:path';
import type { SecurityDomainFile } from '../../security-domain/file.js';
import { SecurityDomainError } from '../../security-domain/problem.js';
import { readCertificateFile, readDomain, show } from './files.js';

export interface InspectOptions {
  certificates?: string;
  json?: true;
}

const EXTENSIONS = new Set(['.cer', '.crt', '.pem', '.der']);

export function inspect(path: string, options: InspectOptions): void {
  const file = readDomain(path);
  const files = options.certificates === undefined ? undefined : matches(file, options.certificates);
  const { required, total } = file.quorum;
  const custodians = file.shares.map(({ thumbprint }) => ({
    thumbprint,
    ...(files && { certificates: files.get(thumbprint) ?? [] }),
  }));
  const items = file.encData.data.map(({ tag }) => tag);
  show(options, { required, total, custodians, items }, [
    `quorum      ${required} of ${total} custodians`,
    ...custodians.map(({ thumbprint, certificates }, index) => {
      const where = certificates ? `  ${certificates.join(', ') || 'no certificate here'}` : '';
      return `${index === 0 ? 'custodians' : '          '}  ${thumbprint}${where}`;
    }),
    ...items.map((tag, index) => `${index === 0 ? 'items     ' : '          '}  ${tag}`),
  ]);
}

// By thumbprint; what is no certificate is passed over, as such a directory holds other things too.
function matches(file: SecurityDomainFile, directory: string): Map<string, string[]> {
  const known = new Map(file.shares.map(({ thumbprint }) => [thumbprint, [] as string[]]));
  for (const name of readdirSync(directory).sort()) {
    if (!EXTENSIONS.has(extname(name).toLowerCase())) continue;
    const path = join(directory, name);
    const thumbprint = thumbprintOf(path);
    if (thumbprint !== undefined) known.get(thumbprint)?.push(path);
  }
  return known;
}

function thumbprintOf(path: string): string | undefined {
  try {
    return readCertificateFile(path).thumbprint;
  } catch (error) {
    if (error instanceof SecurityDomainError) return undefined;
    throw error;
  }
}
