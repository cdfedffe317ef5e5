// @azure/identity and @azure/keyvault-keys as their users set them up, and how a program here shows what it got.
// Argument of every program, as JSON: {url, readyFile, chapters}, and where wanted {tenantId, options, principal} (the
// administrator else) and whatever the program itself asks for.
import { Buffer } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { ClientSecretCredential } from '@azure/identity';
import { CryptographyClient, KeyClient } from '@azure/keyvault-keys';

export const wish = JSON.parse(process.argv[2]);
const { url, tenantId, readyFile, options, chapters } = wish;
const ready = JSON.parse(readFileSync(readyFile, 'utf8'));

/** What a principal logs in with. */
export const credentialOf = ({ clientId, clientSecret }) =>
  new ClientSecretCredential(tenantId ?? ready.tenantId, clientId, clientSecret, {
    authorityHost: ready.controlPlane,
    disableInstanceDiscovery: tenantId === undefined,
  });

const credential = credentialOf(wish.principal ?? ready.admin);
export const client = new KeyClient(url, credential, options);

/** A client of one key, given as the SDK showed it or by its id. */
export const withKey = (key) => new CryptographyClient(key, credential, options);

export const message = Buffer.from('a message that is long enough to be worth signing');

export const base64 = (bytes) => bytes && Buffer.from(bytes).toString('base64');

/** The hash function that an algorithm's name ends with. */
export const hashOf = (algorithm) => `sha${/[0-9]{3}/.exec(algorithm)[0]}`;

export const shown = (key) => ({
  name: key.name,
  id: key.id,
  type: key.keyType,
  operations: key.keyOperations,
  enabled: key.properties.enabled,
  tags: key.properties.tags,
  version: key.properties.version,
  recoveryLevel: key.properties.recoveryLevel,
  jwk: {
    kty: key.key.kty,
    crv: key.key.crv,
    ...Object.fromEntries(
      ['n', 'e', 'x', 'y']
        .filter((part) => key.key[part])
        .map((part) => [part, Buffer.from(key.key[part]).toString('base64url')]),
    ),
  },
});

/** How some work failed; undefined when it did not. */
export async function failure(work) {
  try {
    await work();
  } catch (error) {
    return { status: error.statusCode, code: error.code, message: error.message };
  }
  return undefined;
}

export async function all(iterator) {
  const items = [];
  for await (const item of iterator) items.push(item);
  return items;
}

/** A JWK as the SDK takes it: binary members as bytes. */
export const jwkOf = (jwk) =>
  Object.fromEntries(
    Object.entries(jwk).map(([member, value]) => [
      member,
      ['kty', 'crv', 'keyOps'].includes(member) ? value : Buffer.from(value, 'base64url'),
    ]),
  );

export const importJwk = (name, jwk, more) => client.importKey(name, jwkOf(jwk), more);

/** Works through the chapters that were asked for, in their order, and prints what they found. */
export async function tell(book, first = {}) {
  const told = { ...first };
  for (const chapter of chapters) told[chapter] = await book[chapter]();
  console.log(JSON.stringify(told));
}
