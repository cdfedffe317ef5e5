// Handlers of cryptographic operations. Their answers are written by hand, in order of members: everything in them is
// base64url, a checked name, or an algorithm that the model knows, so that nothing needs escaping.
import { toBase64url, wipe } from '../../values/bytes.js';
import { decrypt } from '../hsm/decrypt.js';
import { encrypt } from '../hsm/encrypt.js';
import { random } from '../hsm/random.js';
import { sign } from '../hsm/sign.js';
import { unwrapKey } from '../hsm/unwrap-key.js';
import { verify } from '../hsm/verify.js';
import { wrapKey } from '../hsm/wrap-key.js';
import type { CipherBody, RandomBody, SignBody, VerifyBody } from './bodies.js';
import { whenDone, type Answer, type Call } from './call.js';
import { bad } from './errors.js';
import { keyId } from './shapes.js';

/** `POST …/sign`: `value` is the digest. */
export function signDigest({ hsm, caller, base, name, version }: Call, { alg, value }: SignBody): Answer {
  return whenDone(sign(hsm, caller, { name, version, algorithm: alg, digest: value }), (signed) =>
    result(alg, keyId(base, name, signed.version), toBase64url(signed.signature)),
  );
}

/** `POST …/verify`: `value` is the signature; the answer is true or false. */
export function verifySignature(call: Call, { alg, digest, value }: VerifyBody): Answer {
  const { hsm, caller, base, name, version } = call;
  return whenDone(
    verify(hsm, caller, { name, version, algorithm: alg, digest, signature: value }),
    (verified) => {
      const kid = keyId(base, name, verified.version);
      return `{"alg":"${alg}","kid":"${kid}","value":${verified.valid ? 'true' : 'false'}}`;
    },
  );
}

/** `POST …/encrypt`: for AES the answer has `iv`, for GCM also `tag`, and `aad` as it came. */
export function encryptValue(call: Call, { alg, value, iv, aad, tag }: CipherBody): Answer {
  const { hsm, caller, base, name, version } = call;
  const wish = { name, version, algorithm: alg, plaintext: value, iv, aad, tag };
  return whenDone(encrypt(hsm, caller, wish), (made) => {
    wipe(value);
    const kid = keyId(base, name, made.version);
    return (
      `{${member('aad', made.aad)}"alg":"${alg}",${member('iv', made.iv)}"kid":"${kid}",` +
      `${member('tag', made.tag)}"value":"${toBase64url(made.ciphertext)}"}`
    );
  });
}

/** `POST …/decrypt`: the answer repeats neither `iv` nor `tag`. */
export function decryptValue(call: Call, { alg, value, iv, aad, tag }: CipherBody): Answer {
  const { hsm, caller, base, name, version } = call;
  const wish = { name, version, algorithm: alg, ciphertext: value, iv, aad, tag };
  return whenDone(decrypt(hsm, caller, wish), (opened) =>
    revealed(alg, keyId(base, name, opened.version), opened.plaintext),
  );
}

/** `POST …/wrapkey`. */
export function wrap(call: Call, { alg, value, iv, aad, tag }: CipherBody): Answer {
  refuseExtra(iv, aad, tag);
  const { hsm, caller, base, name, version } = call;
  return whenDone(wrapKey(hsm, caller, { name, version, algorithm: alg, secret: value }), (made) => {
    wipe(value);
    return result(alg, keyId(base, name, made.version), toBase64url(made.wrapped));
  });
}

/** `POST …/unwrapkey`. */
export function unwrap(call: Call, { alg, value, iv, aad, tag }: CipherBody): Answer {
  refuseExtra(iv, aad, tag);
  const { hsm, caller, base, name, version } = call;
  return whenDone(unwrapKey(hsm, caller, { name, version, algorithm: alg, wrapped: value }), (opened) =>
    revealed(alg, keyId(base, name, opened.version), opened.secret),
  );
}

/** `POST /rng`. */
export function randomBytes({ hsm, caller }: Call, { count }: RandomBody): Answer {
  return whenDone(random(hsm, caller, count), (bytes) => {
    const answer = `{"value":"${toBase64url(bytes)}"}`;
    wipe(bytes);
    return answer;
  });
}

function result(alg: string, kid: string, value: string): string {
  return `{"alg":"${alg}","kid":"${kid}","value":"${value}"}`;
}

/** The answer that holds a secret; its bytes are wiped once they are written. */
function revealed(alg: string, kid: string, secret: Uint8Array): string {
  const answer = result(alg, kid, toBase64url(secret));
  wipe(secret);
  return answer;
}

function member(name: string, bytes: Uint8Array | undefined): string {
  return bytes === undefined ? '' : `"${name}":"${toBase64url(bytes)}",`;
}

function refuseExtra(...extra: (Uint8Array | undefined)[]): void {
  if (extra.some((bytes) => bytes !== undefined))
    bad("'iv', 'aad' and 'tag' cannot be used to wrap or unwrap");
}
