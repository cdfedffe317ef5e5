// Makes the files beside this one from the two collections that README.md names, unpacked:
//   node collect.cjs DIRECTORY_OF_CRYPTOGRAPHY_VECTORS DIRECTORY_OF_WYCHEPROOF_TESTVECTORS
// It selects and re-encodes (bytes as base64url, integers without leading zeros) and changes no value.
const { createPrivateKey } = require('node:crypto');
const { readFileSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');

const [nist, wycheproof] = process.argv.slice(2);

const bytes = (hex) => Buffer.from(hex ?? '', 'hex').toString('base64url');
const integer = (hex) => {
  const bare = hex.replace(/^0+/, '');
  return bytes(bare.length % 2 === 0 ? bare : `0${bare}`);
};
/** An integer at the length of a curve's field. */
const padded = (hex, length) => bytes(hex.replace(/^0+/, '').padStart(2 * length, '0'));
const joined = (...parts) =>
  Buffer.concat(parts.map((part) => Buffer.from(part, 'base64url'))).toString('base64url');
const hashes = ['SHA-256', 'SHA-384', 'SHA-512'];

const curves = {
  'P-256,SHA-256': ['P-256', 'ES256', 32],
  'P-384,SHA-384': ['P-384', 'ES384', 48],
  'P-521,SHA-512': ['P-521', 'ES512', 66],
  'K-256,SHA-256': ['P-256K', 'ES256K', 32],
};

/** Every nth of the tests that are not valid, and all that are. */
const thinned = (nth) => (test, index) => test.result === 'valid' || index % nth === 0;
/** Every nth. */
const every = (nth) => (_, index) => index % nth === 0;

// --- Wycheproof ---

function groupsOf(name, take = () => true) {
  const file = `${name}_test.json`;
  const { testGroups } = JSON.parse(readFileSync(join(wycheproof, file), 'utf8'));
  return testGroups.filter(take).map((group) => ({ source: `wycheproof/${file}`, group }));
}

function wycheproofTest({ tcId, comment, flags, result }) {
  const note = [comment, ...(flags ?? [])].filter((text) => text !== '').join(', ');
  return { id: `tc${tcId}`, result, ...(note === '' ? {} : { note }) };
}

function privateJwk({ privateKeyJwk, privateKeyPem }) {
  const jwk = privateKeyJwk ?? createPrivateKey(privateKeyPem).export({ format: 'jwk' });
  const { kty, n, e, d, p, q, dp, dq, qi } = jwk;
  return { kty, n, e, d, p, q, dp, dq, qi };
}

function ecdsa(name, section) {
  const [crv, alg, length] = curves[section];
  return groupsOf(name).map(({ source, group }) => ({
    source,
    alg,
    key: { kty: 'EC', crv, x: padded(group.key.wx, length), y: padded(group.key.wy, length) },
    tests: group.tests.map((test) => ({
      ...wycheproofTest(test),
      msg: bytes(test.msg),
      sig: bytes(test.sig),
    })),
  }));
}

function rsaVerify(name, { take, select = () => true } = {}) {
  return groupsOf(name, take).map(({ source, group }) => ({
    source,
    sha: group.sha,
    ...(group.mgfSha === undefined ? {} : { mgfSha: group.mgfSha, saltLength: group.sLen }),
    key: { kty: 'RSA', n: integer(group.n), e: integer(group.e) },
    tests: group.tests.filter(select).map((test) => ({
      ...wycheproofTest(test),
      msg: bytes(test.msg),
      sig: bytes(test.sig),
    })),
  }));
}

function rsaSign(name, take) {
  return groupsOf(name, take)
    .filter(({ group }) => group.privateKeyPem !== undefined)
    .map(({ source, group }) => ({
      source,
      sha: group.sha,
      key: privateJwk(group),
      tests: group.tests.map((test) => ({
        ...wycheproofTest(test),
        msg: bytes(test.msg),
        sig: bytes(test.sig),
      })),
    }));
}

function rsaDecrypt(name, { take, nth = 1 } = {}) {
  return groupsOf(name, take).map(({ source, group }) => ({
    source,
    ...(group.sha === undefined ? {} : { sha: group.sha, mgfSha: group.mgfSha }),
    key: privateJwk(group),
    tests: group.tests.filter(every(nth)).map((test) => ({
      ...wycheproofTest(test),
      msg: bytes(test.msg),
      ct: bytes(test.ct),
      ...(test.label === undefined || test.label === '' ? {} : { label: bytes(test.label) }),
    })),
  }));
}

function symmetric(name, members, take) {
  return groupsOf(name, take).map(({ source, group }) => ({
    source,
    ...(group.tagSize === undefined ? {} : { tagSize: group.tagSize }),
    tests: group.tests.map((test) => ({
      ...wycheproofTest(test),
      key: bytes(test.key),
      ...Object.fromEntries(members.map((member) => [member, bytes(test[member])])),
    })),
  }));
}

// --- NIST CAVP and the RFCs, as pyca/cryptography keeps them ---

/** The lines of a response file: sections in brackets, and `name = value`, in order. */
function* linesOf(path) {
  for (const line of readFileSync(join(nist, path), 'latin1').split(/\r?\n/)) {
    const section = /^\[(.*)\]$/.exec(line.trim());
    if (section) yield { section: section[1] };
    const pair = /^(\w+)\s*=\s*(.*)$/.exec(line.trim());
    if (pair) yield { name: pair[1], value: pair[2] };
    else if (line.trim() === 'FAIL') yield { name: 'FAIL', value: '' };
  }
}

/** Records that `start` opens; each holds what came before it in its section, unless it says it anew. */
function recordsOf(path, start) {
  const records = [];
  let section = {};
  let record;
  for (const { section: opened, name, value } of linesOf(path)) {
    if (opened !== undefined) {
      const [, key, text] = /^(\w+)\s*=\s*(.*)$/.exec(opened) ?? [undefined, 'section', opened];
      section = record === undefined ? { ...section, [key]: text } : { [key]: text };
      record = undefined;
    } else if (name === start) {
      record = { ...section, [name]: value };
      records.push(record);
    } else if (record) record[name] = value;
    else section[name] = value;
  }
  return records;
}

/** Signatures of one modulus at a time; `n`, and `p` and `q` where there are any, stand before the tests. */
function rsaFips(path, { sizes, hashes, each, salt }) {
  const groups = [];
  let shared = {};
  let test;
  const tests = [];
  for (const { section, name, value } of linesOf(path)) {
    if (section !== undefined) {
      shared = { size: Number(section.replace(/\D/g, '')) };
      test = undefined;
    } else if (name === 'n') {
      shared = { size: shared.size, n: value };
      test = undefined;
    } else if (name === 'SHAAlg') tests.push((test = { ...shared, sha: value }));
    else if (test) test[name] = value;
    else shared[name] = value;
  }
  const seen = new Map();
  for (const [index, one] of tests.entries()) {
    const hash = one.sha.replace('SHA', 'SHA-');
    if (!sizes.includes(one.size) || !hashes.includes(hash)) continue;
    const count = (seen.get(`${one.size}${hash}`) ?? 0) + 1;
    seen.set(`${one.size}${hash}`, count);
    if (count > each) continue;
    const primes = one.p === undefined ? {} : { p: integer(one.p), q: integer(one.q) };
    const key = { kty: 'RSA', n: integer(one.n), e: integer(one.e), d: integer(one.d), ...primes };
    const said = one.Result ?? 'P';
    const note = /\(\d+ - (.*?)\s*\)/.exec(said)?.[1];
    const line = {
      id: `#${index + 1}`,
      result: said.startsWith('P') ? 'valid' : 'invalid',
      ...(note === undefined ? {} : { note }),
      msg: bytes(one.Msg),
      sig: bytes(one.S),
    };
    const last = groups.at(-1);
    if (last && last.sha === hash && JSON.stringify(last.key) === JSON.stringify(key)) last.tests.push(line);
    else {
      const mgf = salt === undefined ? {} : { mgfSha: hash, saltLength: salt };
      groups.push({ source: `cryptography/${path}`, sha: hash, ...mgf, key, tests: [line] });
    }
  }
  return groups;
}

function ecdsaFips(path) {
  return recordsOf(path, 'Msg')
    .map((record, index) => ({ record, index }))
    .filter(({ record }) => curves[record.section] !== undefined)
    .map(({ record, index }) => {
      const [crv, alg, length] = curves[record.section];
      const said = record.Result ?? 'P';
      const note = /\(\d+ - (.*?)\s*\)/.exec(said)?.[1];
      const coordinates = { x: padded(record.Qx, length), y: padded(record.Qy, length) };
      return {
        source: `cryptography/${path}`,
        alg,
        key: {
          kty: 'EC',
          crv,
          ...coordinates,
          ...(record.d === undefined ? {} : { d: padded(record.d, length) }),
        },
        tests: [
          {
            id: `#${index + 1}`,
            result: said.startsWith('P') ? 'valid' : 'invalid',
            ...(note === undefined ? {} : { note }),
            msg: bytes(record.Msg),
            sig: joined(padded(record.R, length), padded(record.S, length)),
          },
        ],
      };
    });
}

/** Encryption in the form of RSA Laboratories' vectors: headings in comments, integers and octets below them. */
function rsaLaboratories(path, { hash, take }) {
  const groups = [];
  let field = '';
  let key = {};
  let test = {};
  for (const line of readFileSync(join(nist, path), 'latin1').split(/\r?\n/)) {
    const heading = /^# (.*?):?\s*$/.exec(line)?.[1];
    if (heading === 'Public key') {
      key = {};
      groups.push({ key, tests: [] });
    } else if (heading === 'Message') groups.at(-1).tests.push((test = { Message: '' }));
    if (heading !== undefined) {
      field = heading;
      // The modulus and the exponent come twice: of the public key, then of the private one.
      if (/^(Modulus|Exponent)$/.test(field)) key[field] = '';
    } else if (/^[0-9a-f ]+$/i.test(line)) {
      const into = field === 'Message' || field === 'Encryption' ? test : key;
      into[field] = (into[field] ?? '') + line.replaceAll(' ', '');
    }
  }
  const members = { n: 'Modulus', e: 'Public exponent', d: 'Exponent', p: 'Prime 1', q: 'Prime 2' };
  return groups
    .map(({ key: found, tests }, example) => ({
      source: `cryptography/${path}`,
      ...hash,
      key: {
        kty: 'RSA',
        ...Object.fromEntries(Object.entries(members).map(([name, from]) => [name, integer(found[from])])),
      },
      tests: tests.map(({ Message, Encryption }, index) => ({
        id: `example ${example + 1}.${index + 1}`,
        result: 'valid',
        msg: bytes(Message),
        ct: bytes(Encryption),
      })),
    }))
    .filter(take);
}

function gcmNist(path, each) {
  const seen = new Map();
  const tests = recordsOf(path, 'Count')
    .filter(({ IVlen, Taglen }) => IVlen === '96' && Taglen === '128')
    .filter(({ PTlen, AADlen }) => {
      const count = (seen.get(`${PTlen}/${AADlen}`) ?? 0) + 1;
      seen.set(`${PTlen}/${AADlen}`, count);
      return count <= each;
    })
    .map(({ Count, PTlen, AADlen, Key, IV, CT, AAD, Tag, PT, FAIL }) => ({
      id: `PTlen ${PTlen}, AADlen ${AADlen}, count ${Count}`,
      result: FAIL === undefined ? 'valid' : 'invalid',
      key: bytes(Key),
      iv: bytes(IV),
      aad: bytes(AAD),
      msg: bytes(PT),
      ct: bytes(CT),
      tag: bytes(Tag),
    }));
  return [{ source: `cryptography/${path}`, tagSize: 128, tests }];
}

function cbcNist(path, nth) {
  const tests = recordsOf(path, 'COUNT')
    .filter(every(nth))
    .map(({ section, COUNT, KEY, IV, PLAINTEXT, CIPHERTEXT }) => ({
      id: `${section} ${COUNT}`,
      result: 'valid',
      key: bytes(KEY),
      iv: bytes(IV),
      msg: bytes(PLAINTEXT),
      ct: bytes(CIPHERTEXT),
    }));
  return [{ source: `cryptography/${path}`, tests }];
}

/** `each` of every length and outcome. The plaintext is absent where the ciphertext does not open. */
function keyWrapNist(path, each) {
  const seen = new Map();
  const tests = recordsOf(path, 'COUNT')
    .filter((record) => {
      const kind = `${record.section} ${record.FAIL === undefined ? 'opens' : 'fails'}`;
      const count = (seen.get(kind) ?? 0) + 1;
      seen.set(kind, count);
      return count <= each;
    })
    .map((record) => ({
      id: `${record.section}, count ${record.COUNT}`,
      result: record.FAIL === undefined ? 'valid' : 'invalid',
      key: bytes(record.K),
      ...(record.P === undefined ? {} : { msg: bytes(record.P) }),
      ct: bytes(record.C),
    }));
  return [{ source: `cryptography/${path}`, tests }];
}

/** RFC 5649 section 6, and what OpenSSL made. */
function keyWrapRfc(path) {
  const tests = recordsOf(path, 'COUNT').map(({ COUNT, Key, Input, Output }) => ({
    id: `count ${COUNT}`,
    result: 'valid',
    key: bytes(Key),
    msg: bytes(Input),
    ct: bytes(Output),
  }));
  return [{ source: `cryptography/${path}`, tests }];
}

function hmacRfc(path) {
  const tests = recordsOf(path, 'Len').map(({ Msg, Key, MD }, index) => ({
    id: `test case ${index + 1}`,
    result: 'valid',
    key: bytes(Key),
    msg: bytes(Msg),
    tag: bytes(MD),
  }));
  return [
    { source: `cryptography/${path}`, tagSize: 8 * Buffer.from(tests[0].tag, 'base64url').length, tests },
  ];
}

// --- The files: one group a line of JSON, one test a line ---

function write(name, groups) {
  const text = groups
    .map(({ tests, ...head }) => {
      const lines = tests.map((test) => `  ${JSON.stringify(test)}`).join(',\n');
      return `${JSON.stringify(head).replace(/\}$/, '')},"tests":[\n${lines}\n]}`;
    })
    .join(',\n');
  writeFileSync(join(__dirname, `${name}.json`), `[\n${text}\n]\n`);
}

const fips = 'asymmetric/RSA/FIPS_186-2';
const aes = 'ciphers/AES';
const sizes = [2048, 3072, 4096];
const perSize = (make) => [128, 192, 256].flatMap(make);

write('rsa-pkcs1', [
  ...rsaFips(`${fips}/SigVer15_186-3.rsp`, { sizes: [2048, 3072], hashes, each: 6 }),
  ...rsaFips(`${fips}/SigGen15_186-2.txt`, { sizes, hashes: ['SHA-1', 'SHA-224', ...hashes], each: 3 }),
  ...rsaSign('rsa_sig_gen_misc', ({ keysize }) => keysize >= 2048),
  ...rsaVerify('rsa_signature_2048_sha256'),
  ...rsaVerify('rsa_signature_2048_sha384', { select: thinned(3) }),
  ...rsaVerify('rsa_signature_2048_sha512', { select: thinned(3) }),
  ...rsaVerify('rsa_signature_3072_sha256', { select: thinned(8) }),
  ...rsaVerify('rsa_signature_4096_sha512', { select: thinned(8) }),
]);
write('rsa-pss', [
  ...rsaFips(`${fips}/SigVerPSS_186-3.rsp`, { sizes: [2048], hashes, each: 3, salt: 10 }),
  ...rsaVerify('rsa_pss_2048_sha256_mgf1_32'),
  ...rsaVerify('rsa_pss_3072_sha256_mgf1_32'),
  ...rsaVerify('rsa_pss_4096_sha256_mgf1_32', { select: every(3) }),
  ...rsaVerify('rsa_pss_2048_sha256_mgf1_0', { select: every(8) }),
  ...rsaVerify('rsa_pss_4096_sha512_mgf1_32', { select: every(16) }),
  ...rsaVerify('rsa_pss_misc', { take: ({ sha }) => hashes.includes(sha) }),
]);
write('ecdsa', [
  ...ecdsaFips('asymmetric/ECDSA/FIPS_186-3/SigGen.txt'),
  ...ecdsaFips('asymmetric/ECDSA/SECP256K1/SigGen.txt').filter(every(15)),
  ...ecdsaFips('asymmetric/ECDSA/FIPS_186-3/SigVer.rsp'),
  ...ecdsa('ecdsa_secp256r1_sha256_p1363', 'P-256,SHA-256'),
  ...ecdsa('ecdsa_secp256k1_sha256_p1363', 'K-256,SHA-256'),
  ...ecdsa('ecdsa_secp384r1_sha384_p1363', 'P-384,SHA-384'),
  ...ecdsa('ecdsa_secp521r1_sha512_p1363', 'P-521,SHA-512'),
]);
const laboratories = 'asymmetric/RSA/pkcs-1v2-1d2-vec';
write('rsa-oaep', [
  ...rsaLaboratories(`${laboratories}/oaep-vect.txt`, {
    hash: { sha: 'SHA-1', mgfSha: 'SHA-1' },
    take: (_, index) => index >= 8,
  }),
  ...rsaLaboratories('asymmetric/RSA/oaep-custom/oaep-sha256-sha256.txt', {
    hash: { sha: 'SHA-256', mgfSha: 'SHA-256' },
    take: every(3),
  }),
  ...rsaLaboratories('asymmetric/RSA/oaep-custom/oaep-sha256-sha1.txt', {
    hash: { sha: 'SHA-1', mgfSha: 'SHA-256' },
    take: every(10),
  }),
  ...rsaDecrypt('rsa_oaep_2048_sha1_mgf1sha1'),
  ...rsaDecrypt('rsa_oaep_2048_sha256_mgf1sha256'),
  ...rsaDecrypt('rsa_oaep_3072_sha256_mgf1sha256'),
  ...rsaDecrypt('rsa_oaep_4096_sha256_mgf1sha256', { nth: 2 }),
  ...rsaDecrypt('rsa_oaep_2048_sha256_mgf1sha1', { nth: 4 }),
  ...rsaDecrypt('rsa_oaep_2048_sha512_mgf1sha512', { nth: 8 }),
  ...rsaDecrypt('rsa_oaep_misc', {
    take: ({ sha, mgfSha, keysize }) =>
      ['SHA-1', 'SHA-256'].includes(sha) && sha === mgfSha && keysize >= 1536,
    nth: 2,
  }),
]);
write('rsa-pkcs1-encryption', [
  ...rsaLaboratories('asymmetric/RSA/pkcs1v15crypt-vectors.txt', { take: (_, index) => index === 14 }),
  ...rsaDecrypt('rsa_pkcs1_2048'),
  ...rsaDecrypt('rsa_pkcs1_3072').slice(0, 4),
  ...rsaDecrypt('rsa_pkcs1_4096').slice(0, 4),
]);
write('aes-gcm', [
  ...perSize((size) => gcmNist(`${aes}/GCM/gcmDecrypt${size}.rsp`, 4)),
  ...symmetric('aes_gcm', ['iv', 'aad', 'msg', 'ct', 'tag']),
]);
write('aes-cbc', [
  ...perSize((size) => cbcNist(`${aes}/CBC/CBCMMT${size}.rsp`, 1)),
  ...perSize((size) => cbcNist(`${aes}/CBC/CBCGFSbox${size}.rsp`, 1)),
  ...perSize((size) => cbcNist(`${aes}/CBC/CBCKeySbox${size}.rsp`, 4)),
  ...perSize((size) => cbcNist(`${aes}/CBC/CBCVarKey${size}.rsp`, 16)),
  ...perSize((size) => cbcNist(`${aes}/CBC/CBCVarTxt${size}.rsp`, 16)),
]);
write('aes-cbc-pad', symmetric('aes_cbc_pkcs5', ['iv', 'msg', 'ct']));
write('aes-kw', [
  ...perSize((size) => keyWrapNist(`keywrap/kwtestvectors/KW_AE_${size}.txt`, 2)),
  ...perSize((size) => keyWrapNist(`keywrap/kwtestvectors/KW_AD_${size}.txt`, 2)),
  ...symmetric('kw', ['msg', 'ct']),
]);
write('aes-kwp', [
  ...keyWrapRfc('keywrap/kwp_botan.txt'),
  ...perSize((size) => keyWrapNist(`keywrap/kwtestvectors/KWP_AE_${size}.txt`, 4)),
  ...perSize((size) => keyWrapNist(`keywrap/kwtestvectors/KWP_AD_${size}.txt`, 2)),
  ...symmetric('kwp', ['msg', 'ct']),
]);
write('hmac', [
  ...[256, 384, 512].flatMap((bits) => hmacRfc(`HMAC/rfc-4231-sha${bits}.txt`)),
  ...[256, 384, 512].flatMap((bits) => symmetric(`hmac_sha${bits}`, ['msg', 'tag'])),
]);
