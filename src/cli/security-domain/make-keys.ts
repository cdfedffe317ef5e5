// `trivet security-domain make-keys`: a key pair for each custodian.
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { readCertificate } from '../../security-domain/certificates.js';
import { makeCustodianPair } from '../../security-domain/custodian.js';
import { CUSTODIANS_MAX, CUSTODIANS_MIN } from '../../security-domain/quorum.js';
import { CommandError } from '../failure.js';
import { withProgress } from '../progress.js';
import { checkNew, show, tell, writeNew } from './files.js';

export interface MakeKeysOptions {
  out: string;
  count: number;
  name: string;
  bits: number;
  json?: true;
}

const SIZES = [3_072, 4_096];

export function makeKeys(options: MakeKeysOptions): Promise<void> {
  return tell(async () => {
    const { count, name, bits, out } = options;
    if (count < CUSTODIANS_MIN || count > CUSTODIANS_MAX) {
      throw new CommandError(`a security domain has ${CUSTODIANS_MIN} to ${CUSTODIANS_MAX} custodians`);
    }
    if (!SIZES.includes(bits)) throw new CommandError(`the keys have ${SIZES.join(' or ')} bits`);
    if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,40}$/.test(name)) {
      throw new CommandError('a name has letters, digits, "-" and "_", 41 at most');
    }
    const wanted = Array.from({ length: count }, (_, index) => {
      const commonName = `${name}-${index + 1}`;
      return {
        commonName,
        key: join(out, `${commonName}.key`),
        certificate: join(out, `${commonName}.cer`),
      };
    });
    checkNew(...wanted.flatMap(({ key, certificate }) => [key, certificate]));
    const made = await withProgress('making keys', count, async (advance) => {
      const pairs = [];
      for (const { commonName, key, certificate } of wanted) {
        const pair = await makeCustodianPair({
          commonName,
          modulusBits: bits,
          notBefore: startOfToday(),
          random: randomBytes,
        });
        writeNew(key, pair.privateKeyPem);
        writeNew(certificate, pair.certificatePem);
        const { thumbprint } = readCertificate(pair.certificate, certificate);
        pairs.push({ name: commonName, key, certificate, thumbprint });
        advance(commonName);
      }
      return pairs;
    });
    show(options, made, [
      ...made.map(({ key, certificate, thumbprint }) => `${key}  ${certificate}  ${thumbprint}`),
      '',
      'Give each .key file to one custodian and leave no copy here: who has as many of them as the quorum',
      'has the HSM. The .cer files are no secret; keep one beside its key.',
    ]);
  });
}

// A clock that is behind elsewhere must not make the certificate one of the future.
function startOfToday(): Date {
  return new Date(new Date().setUTCHours(0, 0, 0, 0));
}
