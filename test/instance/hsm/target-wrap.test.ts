// Keys wrapped for an enclave, opened by OpenSSL's command line and by Node's Web Crypto with the enclave's private key.
import { execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import {
  createDecipheriv,
  createPrivateKey,
  generateKeyPairSync,
  randomBytes,
  type KeyObject,
} from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { targetWrapNamed, wrapForTarget, type TargetWrap } from '../../../src/instance/hsm/target-wrap.js';
import { AssertionError } from '../../../src/values/assert.js';
import { RefusedError } from '../../../src/instance/model/refusal.js';

const directory = mkdtempSync(join(tmpdir(), 'trivet-target-wrap-'));
afterAll(() => rmSync(directory, { recursive: true }));

const enclave = generateKeyPairSync('rsa', { modulusLength: 2048 });
const wraps: readonly (readonly [enc: TargetWrap, hash: string])[] = [
  ['CKM_RSA_AES_KEY_WRAP', 'sha1'],
  ['RSA_AES_KEY_WRAP_256', 'sha256'],
  ['RSA_AES_KEY_WRAP_384', 'sha384'],
];

/** The AES key, by the openssl command, which is told both hashes. */
function openAesKey(wrapped: Buffer, hash: string, privateKey: KeyObject): Buffer {
  const keyFile = join(directory, 'enclave.pem');
  const inFile = join(directory, 'wrapped');
  writeFileSync(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  writeFileSync(inFile, wrapped);
  const options = ['rsa_padding_mode:oaep', `rsa_oaep_md:${hash}`, `rsa_mgf1_md:${hash}`];
  return execFileSync(
    'openssl',
    [
      'pkeyutl',
      '-decrypt',
      '-inkey',
      keyFile,
      '-in',
      inFile,
      ...options.flatMap((option) => ['-pkeyopt', option]),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
}

/** RFC 5649 section 4.2 by hand, with nothing but AES in ECB mode: independent of OpenSSL's key wrap. */
function unwrapPadded(kek: Buffer, wrapped: Buffer): Buffer {
  const block = (bytes: Buffer) => {
    const decipher = createDecipheriv('aes-256-ecb', kek, null).setAutoPadding(false);
    return Buffer.concat([decipher.update(bytes), decipher.final()]);
  };
  const count = wrapped.length / 8 - 1;
  let head = wrapped.subarray(0, 8);
  const parts = Array.from({ length: count }, (_, place) =>
    wrapped.subarray(8 * (place + 1), 8 * (place + 2)),
  );
  if (count === 1) {
    const both = block(wrapped);
    head = both.subarray(0, 8);
    parts[0] = both.subarray(8);
  } else {
    for (let round = 5; round >= 0; round -= 1) {
      for (let place = count; place >= 1; place -= 1) {
        const counter = Buffer.alloc(8);
        counter.writeBigUInt64BE(head.readBigUInt64BE(0) ^ BigInt(count * round + place));
        const both = block(Buffer.concat([counter, parts[place - 1] ?? Buffer.alloc(0)]));
        head = both.subarray(0, 8);
        parts[place - 1] = both.subarray(8);
      }
    }
  }
  expect(head.toString('hex', 0, 4)).toBe('a65959a6');
  const length = head.readUInt32BE(4);
  const padded = Buffer.concat(parts);
  expect(padded.length - length).toBeLessThan(8);
  expect(padded.subarray(length).every((octet) => octet === 0)).toBe(true);
  return padded.subarray(0, length);
}

function open(wrapped: Buffer, hash: string, privateKey = enclave.privateKey, size = 256): Buffer {
  const aes = openAesKey(wrapped.subarray(0, size), hash, privateKey);
  expect(aes.length).toBe(32);
  return unwrapPadded(aes, wrapped.subarray(size));
}

describe.each(wraps)('%s', (enc, hash) => {
  it(`is OAEP with ${hash} of an AES-256 key, then key wrap with padding: OpenSSL opens it`, () => {
    const plaintext = randomBytes(1217);
    const wrapped = wrapForTarget(enc, enclave.publicKey, plaintext);
    expect(wrapped.length).toBe(256 + 8 + 1224);
    expect(open(wrapped, hash).equals(plaintext)).toBe(true);
    for (const [, other] of wraps) {
      if (other !== hash)
        expect(() => openAesKey(wrapped.subarray(0, 256), other, enclave.privateKey)).toThrow();
    }
  });

  it('carries a private key that can be used afterwards', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' });
    const opened = open(wrapForTarget(enc, enclave.publicKey, pkcs8), hash);
    expect(createPrivateKey({ key: opened, format: 'der', type: 'pkcs8' }).equals(privateKey)).toBe(true);
  });

  it('leaves the plaintext alone, which its owner wipes', () => {
    const plaintext = Buffer.from('0123456789abcdef');
    wrapForTarget(enc, enclave.publicKey, plaintext);
    expect(plaintext.toString()).toBe('0123456789abcdef');
  });
});

describe('a wrap', () => {
  it('of any length opens to the same bytes', () => {
    const enc = 'RSA_AES_KEY_WRAP_256';
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 70 }), (plaintext) => {
        expect(open(wrapForTarget(enc, enclave.publicKey, plaintext), 'sha256').equals(plaintext)).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  it('is for targets of 3072 and 4096 bits as long as their modulus, and the wrapped key', () => {
    for (const modulusLength of [3072, 4096]) {
      const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength });
      const wrapped = wrapForTarget('RSA_AES_KEY_WRAP_384', publicKey, Buffer.alloc(32, 7));
      expect(wrapped.length).toBe(modulusLength / 8 + 40);
      expect(open(wrapped, 'sha384', privateKey, modulusLength / 8).equals(Buffer.alloc(32, 7))).toBe(true);
    }
  });

  it('has a new AES key each time', () => {
    const keys = Array.from({ length: 5 }, () =>
      openAesKey(
        wrapForTarget('CKM_RSA_AES_KEY_WRAP', enclave.publicKey, Buffer.alloc(16)).subarray(0, 256),
        'sha1',
        enclave.privateKey,
      ).toString('hex'),
    );
    expect(new Set(keys).size).toBe(5);
  });

  it('wipes its AES key, also when the target cannot take it', () => {
    const made: Buffer[] = [];
    const random = jest.spyOn(crypto, 'randomBytes').mockImplementation((size: number) => {
      const bytes = Buffer.alloc(size, 0x5a);
      made.push(bytes);
      return bytes;
    });
    try {
      const wrapped = wrapForTarget('RSA_AES_KEY_WRAP_256', enclave.publicKey, Buffer.alloc(16));
      expect(
        openAesKey(wrapped.subarray(0, 256), 'sha256', enclave.privateKey).equals(Buffer.alloc(32, 0x5a)),
      ).toBe(true);
      const tooSmall = generateKeyPairSync('rsa', { modulusLength: 512 }).publicKey;
      expect(() => wrapForTarget('RSA_AES_KEY_WRAP_256', tooSmall, Buffer.alloc(16))).toThrow();
    } finally {
      random.mockRestore();
    }
    expect(made).toEqual([Buffer.alloc(32), Buffer.alloc(32)]);
  });

  it('of nothing is a mistake of ours', () => {
    expect(() => wrapForTarget('CKM_RSA_AES_KEY_WRAP', enclave.publicKey, Buffer.alloc(0))).toThrow(
      AssertionError,
    );
  });
});

describe('enc', () => {
  it('is CKM_RSA_AES_KEY_WRAP unless it is said', () => {
    expect(targetWrapNamed(undefined)).toBe('CKM_RSA_AES_KEY_WRAP');
    for (const [enc] of wraps) expect(targetWrapNamed(enc)).toBe(enc);
  });

  it.each(['', 'ckm_rsa_aes_key_wrap', 'RSA_AES_KEY_WRAP_512', 'toString', '__proto__'])(
    '%j is a bad parameter',
    (enc) => {
      expect(() => targetWrapNamed(enc)).toThrow(RefusedError);
      expect(() => targetWrapNamed(enc)).toThrow('BadParameter');
    },
  );
});
