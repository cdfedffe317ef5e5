// Backup and restore of single keys with KeyClient. Checks nothing itself. Argument: see sdk.mjs.
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { all, base64, client, failure, message, shown, tell, withKey } from './sdk.mjs';

const digest = createHash('sha256').update(message).digest();

/** From its creation through backup, purge and restore. */
async function kept(name, create) {
  const first = await create(name, { tags: { kept: 'yes' } });
  const second = await create(name, { notBefore: new Date('2026-01-02T03:04:05Z') });
  const backup = await client.backupKey(name);
  const taken = await failure(() => client.restoreKeyBackup(backup));
  await (await client.beginDeleteKey(name)).pollUntilDone();
  const held = await failure(() => client.restoreKeyBackup(backup));
  await client.purgeDeletedKey(name);
  const restored = await client.restoreKeyBackup(backup);
  const versions = await all(client.listPropertiesOfKeyVersions(name));
  return {
    first: shown(first),
    second: shown(second),
    backup: base64(backup),
    taken,
    held,
    restored: shown(restored),
    older: shown(await client.getKey(name, { version: first.properties.version })),
    versions: versions.map(({ version }) => version),
  };
}

await tell({
  async asymmetric() {
    const rsa = await kept('kept-rsa', (name, options) => client.createRsaKey(name, options));
    const ec = await kept('kept-ec', (name, options) => client.createEcKey(name, options));
    const sign = async (id, algorithm) => base64((await withKey(id).sign(algorithm, digest)).result);
    return {
      message: base64(message),
      rsa: { ...rsa, signature: await sign(rsa.first.id, 'PS256') },
      ec: { ...ec, signature: await sign(ec.first.id, 'ES256') },
    };
  },
  async symmetric() {
    let sealed;
    const plaintext = Buffer.from('sealed before it was lost');
    const oct = await kept('kept-oct', async (name, options) => {
      const key = await client.createOctKey(name, { keySize: 256, ...options });
      sealed ??= { key, made: await withKey(key).encrypt({ algorithm: 'A256GCM', plaintext }) };
      return key;
    });
    const { key, made } = sealed;
    const opened = await withKey(key.id).decrypt({
      algorithm: 'A256GCM',
      ciphertext: made.result,
      iv: made.iv,
      authenticationTag: made.authenticationTag,
    });
    return { ...oct, plaintext: base64(plaintext), opened: base64(opened.result) };
  },
  async garbage() {
    const blob = await client.backupKey('kept-ec');
    const changed = Uint8Array.from(blob);
    // In the middle: of the ciphertext.
    changed[Math.floor(changed.length / 2)] ^= 1;
    await (await client.beginDeleteKey('kept-ec')).pollUntilDone();
    await client.purgeDeletedKey('kept-ec');
    const failures = [];
    for (const bad of [Buffer.from('nothing of the kind'), changed]) {
      failures.push(await failure(() => client.restoreKeyBackup(bad)));
    }
    return failures;
  },
  missing: () => failure(() => client.backupKey('never-was')),
});
