// Handlers of what is given to enclaves only: released keys, and secrets that are unwrapped for one.
import { toBase64url } from '../../values/bytes.js';
import { toJson } from '../../values/json.js';
import { releaseKey } from '../hsm/release-key.js';
import { keyHsm, releasedKeyToken } from '../hsm/released-key.js';
import { secureUnwrapKey } from '../hsm/secure-unwrap-key.js';
import { secureWrapKey } from '../hsm/secure-wrap-key.js';
import type { ReleaseBody, SecureUnwrapBody, SecureWrapBody } from './bodies.js';
import type { Call } from './call.js';
import { notOffered } from './errors.js';
import { attributes, keyId } from './shapes.js';

/** `POST /keys/{name}/{version}/release`: a signed token that holds the key, wrapped. */
export async function release(call: Call, { target, enc, nonce }: ReleaseBody): Promise<string> {
  const { hsm, caller, base, name, version, query } = call;
  const released = await releaseKey(hsm, caller, { name, version, target, enc });
  const { key, wrapped, enclaveKid, signer } = released;
  const token = await releasedKeyToken(
    {
      request: {
        apiVersion: query.apiVersion ?? '',
        enc: released.enc,
        kid: version === undefined ? `${base}/keys/${name}` : keyId(base, name, version),
        nonce,
      },
      kid: keyId(base, name, key.version),
      attributes: attributes(key.attributes, query),
      operations: key.operations,
      public: key.public,
      policy: key.releasePolicy,
      wrapped,
      enclaveKid,
    },
    signer,
  );
  return toJson({ value: token });
}

/** `POST /keys/{name}/{version}/securewrapkey`: a new key, wrapped. */
export async function secureWrap(call: Call, { alg }: SecureWrapBody): Promise<string> {
  const { hsm, caller, base, name, version } = call;
  const made = await secureWrapKey(hsm, caller, { name, version, algorithm: alg });
  return toJson({ alg, kid: keyId(base, name, made.version), value: toBase64url(made.wrapped) });
}

/** `POST /keys/{name}/{version}/secureunwrapkey`: the secret, wrapped for the enclave as a released key is. */
export async function secureUnwrap(call: Call, body: SecureUnwrapBody): Promise<string> {
  const { alg, value, target, applicationTrustedIssuer } = body;
  if (applicationTrustedIssuer !== undefined && applicationTrustedIssuer !== null) {
    notOffered("property 'applicationTrustedIssuer'");
  }
  const { hsm, caller, base, name, version } = call;
  const opened = await secureUnwrapKey(hsm, caller, {
    name,
    version,
    algorithm: alg,
    wrapped: value,
    target,
  });
  return toJson({ alg, kid: keyId(base, name, opened.version), value: keyHsm(opened) });
}
