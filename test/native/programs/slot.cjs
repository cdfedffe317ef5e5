// What every program here starts with: a token of its own in the directory that SOFTHSM2_CONF names.
'use strict';
const { Buffer } = require('node:buffer');
const { Library } = require('../../../dist/instance/pkcs11/library.js');
const { CKM } = require('../../../dist/instance/pkcs11/constants.js');

const soPin = Buffer.from('so-pin-1');
const userPin = Buffer.from('user-pin-1');
const p256 = Buffer.from('06082a8648ce3d030107', 'hex');
const modulePath = process.env.TRIVET_PKCS11_MODULE;

/** Initialises a token and logs in. */
async function prepare() {
  const library = Library.openSync(modulePath);
  const slot = library.slotsSync()[0];
  await library.initToken(slot, soPin, 'program');
  const session = library.openSessionSync(slot, { readWrite: true });
  await session.login('SO', soPin);
  await session.initPin(userPin);
  await session.logout();
  await session.login('USER', userPin);
  return { library, slot, session };
}

async function ecKey(session, template = {}) {
  const pair = await session.generateKeyPair(
    { type: CKM.EC_KEY_PAIR_GEN },
    { token: false, private: false, verify: true, ecParams: p256 },
    { token: false, private: true, sensitive: true, sign: true, ...template },
  );
  return pair;
}

async function rsaKey(session, modulusBits = 2048, template = {}) {
  return session.generateKeyPair(
    { type: CKM.RSA_PKCS_KEY_PAIR_GEN },
    { token: false, private: false, verify: true, modulusBits, publicExponent: Buffer.from([1, 0, 1]) },
    { token: false, private: true, sensitive: true, sign: true, ...template },
  );
}

module.exports = { Library, CKM, modulePath, soPin, userPin, p256, prepare, ecKey, rsaKey };
