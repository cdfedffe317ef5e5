// What KeyClient can be told of a key beside its type, its pollers, and its ways to a CryptographyClient. Checks nothing
// itself. Argument: see sdk.mjs.
import { Buffer } from 'node:buffer';
import { createHash, generateKeyPairSync } from 'node:crypto';
import {
  CryptographyClient,
  KeyClient,
  KnownKeyTypes,
  parseKeyVaultKeyIdentifier,
} from '@azure/keyvault-keys';
import { all, base64, client, failure, importJwk, jwkOf, message, shown, tell, wish } from './sdk.mjs';

// A poller that was resumed has its dates as text.
const seconds = (date) => date && new Date(date).getTime() / 1_000;
const times = ({ properties }) => ({
  notBefore: seconds(properties.notBefore),
  expiresOn: seconds(properties.expiresOn),
  created: seconds(properties.createdOn),
  updated: seconds(properties.updatedOn),
});
const full = (key) => ({
  ...shown(key),
  ...times(key),
  exportable: key.properties.exportable,
  recoverableDays: key.properties.recoverableDays,
  vaultUrl: key.properties.vaultUrl,
});

const from = new Date('2026-01-02T03:04:05Z');
// The SDK's numbers of seconds have 32 bits; a later date than 2038-01-19 it sends as a negative number.
const until = new Date('2037-12-31T23:59:59Z');
const window = { notBefore: from, expiresOn: until };
const digest = createHash('sha256').update(message).digest();

await tell({
  async types() {
    const keys = {};
    for (const type of Object.values(KnownKeyTypes))
      keys[type] = shown(await client.createKey(`type-${type}`, type));
    return keys;
  },
  async created() {
    const tags = { owner: 'somebody', empty: '' };
    return full(
      await client.createRsaKey('created', {
        keySize: 3072,
        keyOps: ['sign', 'verify'],
        enabled: true,
        exportable: false,
        tags,
        ...window,
      }),
    );
  },
  async imported() {
    const jwk = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey.export({ format: 'jwk' });
    const key = await importJwk(
      'imported',
      { ...jwk, keyOps: ['sign'] },
      { hardwareProtected: true, enabled: false, tags: { from: 'elsewhere' }, ...window },
    );
    return { jwk, ...full(key) };
  },
  async updated() {
    const first = await client.createOctKey('updated', { keySize: 128, tags: { kept: 'no' } });
    const second = await client.createOctKey('updated', { keySize: 256 });
    const old = await client.updateKeyProperties('updated', first.properties.version, {
      keyOps: ['encrypt'],
      tags: { stage: 'old' },
      ...window,
    });
    const newest = await client.updateKeyProperties('updated', { enabled: false });
    const properties = await all(client.listPropertiesOfKeyVersions('updated'));
    return {
      first: full(first),
      second: full(second),
      old: full(old),
      newest: full(newest),
      listed: properties.map((listed) => ({
        version: listed.version,
        enabled: listed.enabled,
        tags: listed.tags,
        ...times({ properties: listed }),
      })),
    };
  },
  async pollers() {
    await client.createEcKey('polled', { tags: { kept: 'yes' } });
    const started = await client.beginDeleteKey('polled', { intervalInMs: 10 });
    // As another process would that was given the state.
    const resumed = await client.beginDeleteKey('polled', {
      intervalInMs: 10,
      resumeFrom: started.toString(),
    });
    const deleted = await resumed.pollUntilDone();
    const [listed] = (await all(client.listDeletedKeys())).filter(({ name }) => name === 'polled');
    const recovery = await client.beginRecoverDeletedKey('polled', { intervalInMs: 10 });
    const recovered = await recovery.pollUntilDone();
    const missing = await failure(() => client.beginDeleteKey('never-was'));
    const deletion = ({ name, properties }) => ({
      name,
      tags: properties.tags,
      recoveryId: properties.recoveryId,
      deleted: seconds(properties.deletedOn),
      purge: seconds(properties.scheduledPurgeDate),
    });
    return {
      deleted: deletion(deleted),
      listed: deletion(listed),
      recovered: full(recovered),
      done: [resumed.isDone(), recovery.isDone()],
      missing,
    };
  },
  async cryptography() {
    const first = await client.createEcKey('chosen');
    const second = await client.createEcKey('chosen');
    const signatures = [];
    for (const options of [undefined, { keyVersion: first.properties.version }]) {
      const crypto = client.getCryptographyClient('chosen', options);
      const { result, keyID } = await crypto.sign('ES256', digest);
      signatures.push({ signature: base64(result), keyID, id: crypto.keyID, vaultUrl: crypto.vaultUrl });
    }
    return {
      message: base64(message),
      first: shown(first),
      second: shown(second),
      signatures,
      parsed: parseKeyVaultKeyIdentifier(first.id),
    };
  },
  async disbelieved() {
    const pretender = {
      getToken: async () => ({ token: 'not.a.token', expiresOnTimestamp: until.getTime() }),
    };
    const stranger = new KeyClient(wish.url, pretender);
    return [
      await failure(() => stranger.createEcKey('never')),
      await failure(() => stranger.getKey('never')),
    ];
  },
  // A client of a JWK asks nobody; what it makes is for the pool, and the other way round.
  async alone() {
    const secret = Buffer.from('sixteen bytes...');
    const rsa = await client.createRsaKey('alone-rsa');
    const local = new CryptographyClient(rsa.key);
    const remote = client.getCryptographyClient('alone-rsa');
    const opened = [];
    for (const algorithm of ['RSA1_5', 'RSA-OAEP']) {
      const sealed = await local.encrypt(algorithm, secret);
      opened.push(base64((await remote.decrypt(algorithm, sealed.result)).result));
      const wrapped = await local.wrapKey(algorithm, secret);
      opened.push(base64((await remote.unwrapKey(algorithm, wrapped.result)).result));
    }
    const verified = [];
    for (const algorithm of ['RS256', 'RS384', 'RS512']) {
      const { result } = await remote.signData(algorithm, message);
      verified.push((await local.verifyData(algorithm, message, result)).result);
    }
    for (const bits of [128, 192, 256]) {
      const k = createHash('sha256')
        .update(`alone ${bits}`)
        .digest()
        .subarray(0, bits / 8);
      const jwk = { kty: 'oct', k: k.toString('base64url') };
      await importJwk(`alone-${bits}`, jwk);
      const own = new CryptographyClient({ ...jwkOf(jwk), keyOps: ['encrypt', 'decrypt'] });
      const algorithm = `A${bits}CBCPAD`;
      const sealed = await own.encrypt({ algorithm, plaintext: secret });
      const pool = client.getCryptographyClient(`alone-${bits}`);
      const read = await pool.decrypt({ algorithm, ciphertext: sealed.result, iv: sealed.iv });
      const back = await pool.encrypt({ algorithm, plaintext: secret });
      const again = await own.decrypt({ algorithm, ciphertext: back.result, iv: back.iv });
      opened.push(base64(read.result), base64(again.result));
    }
    return { secret: base64(secret), opened, verified };
  },
});
