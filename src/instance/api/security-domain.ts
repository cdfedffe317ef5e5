// Handlers of the security domain. The work is done when a request is answered; clients ask for its end all the same,
// at the address that the answer names.
import { toBase64url } from '../../values/bytes.js';
import { toJson } from '../../values/json.js';
import { downloadDomain } from '../hsm/download-domain.js';
import { domainStatus } from '../hsm/domain-status.js';
import { getTransferKey } from '../hsm/transfer-key.js';
import { uploadDomain } from '../hsm/upload-domain.js';
import type { DownloadBody, UploadBody } from './bodies.js';
import { whenDone, type Answer, type Call } from './call.js';

type StatusAction = 'securitydomain/download/read' | 'securitydomain/upload/read';

const STATUS = { status: 'Success', status_details: 'The resource is active.' } as const;

/** `POST /securitydomain/download`: the file, as text in the JSON. */
export async function download({ hsm, caller }: Call, body: DownloadBody): Promise<string> {
  return toJson({ value: await downloadDomain(hsm, caller, body) });
}

/** `GET /securitydomain/{download,upload}/pending`: one and the same, as some clients ask for the other's. */
export function pending(action: StatusAction): (call: Call) => Answer {
  return ({ hsm, caller }) => whenDone(domainStatus(hsm, caller, action), () => toJson(STATUS));
}

/** `GET /securitydomain/upload`: the key as a JSON text inside the JSON, which is what clients read. */
export async function transferKey({ hsm, caller, base }: Call): Promise<string> {
  const { n, e, certificate } = await getTransferKey(hsm, caller);
  const jwk = {
    kty: 'RSA',
    alg: 'RSA-OAEP-256',
    key_ops: ['encrypt', 'wrapKey'],
    n: toBase64url(n),
    e: toBase64url(e),
    x5c: [Buffer.from(certificate).toString('base64')],
    kid: `${base}/transfer_key`,
  };
  return toJson({ key_format: 'jwk', transfer_key: toJson(jwk) });
}

/** `POST /securitydomain/upload`. */
export async function upload({ hsm, caller }: Call, { value }: UploadBody): Promise<string> {
  await uploadDomain(hsm, caller, value);
  return toJson(STATUS);
}
