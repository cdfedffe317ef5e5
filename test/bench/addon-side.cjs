// One side of the addon benchmark, in a process of its own since a module is initialised once per process. Arguments:
// side, PKCS#11 module, PIN, milliseconds a measurement. SOFTHSM2_CONF names the token. Prints JSON: for each
// measurement operations per second and CPU microseconds per operation.
const { createHash } = require('node:crypto');
const { join } = require('node:path');

const [side, modulePath, pin, milliseconds] = process.argv.slice(2);
const digest = createHash('sha256').update('benchmark').digest();
const block = Buffer.alloc(32, 7);
const P256 = Buffer.from('06082a8648ce3d030107', 'hex');

const sides = {
  async trivet() {
    const { Library } = require(join(__dirname, '../../dist/instance/pkcs11/library.js'));
    const { CKM, CKO, CKK } = require(join(__dirname, '../../dist/instance/pkcs11/constants.js'));
    const { prepareMechanism } = require(join(__dirname, '../../dist/instance/pkcs11/mechanism.js'));
    const library = Library.openSync(modulePath);
    const [slot] = library.slotsSync(true);
    const sessions = Array.from({ length: 17 }, () => library.openSessionSync(slot, { readWrite: true }));
    const [session] = sessions;
    await session.login('USER', Buffer.from(pin));
    const forPrivate = { token: false, private: true, sensitive: true };
    const ec = await session.generateKeyPair(
      { type: CKM.EC_KEY_PAIR_GEN },
      { token: false, private: false, ecParams: P256, verify: true },
      { ...forPrivate, sign: true },
    );
    const rsa = await session.generateKeyPair(
      { type: CKM.RSA_PKCS_KEY_PAIR_GEN },
      { token: false, private: false, modulusBits: 2048, publicExponent: Buffer.of(1, 0, 1), verify: true },
      { ...forPrivate, sign: true },
    );
    const aes = await session.generateKey({ type: CKM.AES_KEY_GEN }, { ...forPrivate, valueLen: 32, encrypt: true });
    const secret = { class: CKO.SECRET_KEY, keyType: CKK.GENERIC_SECRET, value: Buffer.alloc(32, 9), sign: true };
    const hmac = await session.createObject({ ...forPrivate, ...secret });
    const ecdsa = prepareMechanism({ type: CKM.ECDSA });
    const pkcs1 = prepareMechanism({ type: CKM.SHA256_RSA_PKCS });
    const mac = prepareMechanism({ type: CKM.SHA256_HMAC });
    const gcm = { type: CKM.AES_GCM, parameter: { iv: Buffer.alloc(12, 1), tagBits: 128 } };
    return {
      es256: {
        sync: () => session.signSync(ecdsa, ec.privateKey, digest),
        async: (lane) => sessions[lane + 1].sign(ecdsa, ec.privateKey, digest),
      },
      rs256: {
        sync: () => session.signSync(pkcs1, rsa.privateKey, digest),
        async: (lane) => sessions[lane + 1].sign(pkcs1, rsa.privateKey, digest),
      },
      a256gcm: { sync: () => session.encryptSync(gcm, aes, block) },
      hs256: { sync: () => session.signSync(mac, hmac, block) },
    };
  },

  pkcs11js() {
    const pkcs11js = require('pkcs11js');
    const module = new pkcs11js.PKCS11();
    module.load(modulePath);
    // Without locking it crashes when several calls are in flight.
    module.C_Initialize({ flags: pkcs11js.CKF_OS_LOCKING_OK });
    const [slot] = module.C_GetSlotList(true);
    const open = () => module.C_OpenSession(slot, pkcs11js.CKF_SERIAL_SESSION | pkcs11js.CKF_RW_SESSION);
    const sessions = Array.from({ length: 17 }, open);
    const [session] = sessions;
    module.C_Login(session, pkcs11js.CKU_USER, pin);
    const { CKA_TOKEN, CKA_PRIVATE, CKA_SENSITIVE, CKA_SIGN, CKA_EC_PARAMS, CKA_MODULUS_BITS } = pkcs11js;
    const template = (values) => Object.entries(values).map(([type, value]) => ({ type: Number(type), value }));
    const forPrivate = { [CKA_TOKEN]: false, [CKA_PRIVATE]: true, [CKA_SENSITIVE]: true };
    const forPublic = { [CKA_TOKEN]: false, [CKA_PRIVATE]: false };
    const ec = module.C_GenerateKeyPair(
      session,
      { mechanism: pkcs11js.CKM_EC_KEY_PAIR_GEN, parameter: null },
      template({ ...forPublic, [CKA_EC_PARAMS]: P256 }),
      template({ ...forPrivate, [CKA_SIGN]: true }),
    );
    const exponent = { [CKA_MODULUS_BITS]: 2048, [pkcs11js.CKA_PUBLIC_EXPONENT]: Buffer.of(1, 0, 1) };
    const rsa = module.C_GenerateKeyPair(
      session,
      { mechanism: pkcs11js.CKM_RSA_PKCS_KEY_PAIR_GEN, parameter: null },
      template({ ...forPublic, ...exponent }),
      template({ ...forPrivate, [CKA_SIGN]: true }),
    );
    const aes = module.C_GenerateKey(
      session,
      { mechanism: pkcs11js.CKM_AES_KEY_GEN, parameter: null },
      template({ ...forPrivate, [pkcs11js.CKA_VALUE_LEN]: 32, [pkcs11js.CKA_ENCRYPT]: true }),
    );
    const hmac = module.C_CreateObject(
      session,
      template({
        ...forPrivate,
        [pkcs11js.CKA_CLASS]: pkcs11js.CKO_SECRET_KEY,
        [pkcs11js.CKA_KEY_TYPE]: pkcs11js.CKK_GENERIC_SECRET,
        [pkcs11js.CKA_VALUE]: Buffer.alloc(32, 9),
        [CKA_SIGN]: true,
      }),
    );
    const signer = (mechanism, key, data, room) => ({
      sync: () => {
        module.C_SignInit(session, mechanism, key);
        return module.C_Sign(session, data, Buffer.alloc(room));
      },
      async: (lane) => {
        module.C_SignInit(sessions[lane + 1], mechanism, key);
        return module.C_SignAsync(sessions[lane + 1], data, Buffer.alloc(room));
      },
    });
    const none = (mechanism) => ({ mechanism, parameter: null });
    const gcm = {
      mechanism: pkcs11js.CKM_AES_GCM,
      parameter: { type: pkcs11js.CK_PARAMS_AES_GCM, iv: Buffer.alloc(12, 1), ivBits: 96, tagBits: 128 },
    };
    return {
      es256: signer(none(pkcs11js.CKM_ECDSA), ec.privateKey, digest, 64),
      rs256: signer(none(pkcs11js.CKM_SHA256_RSA_PKCS), rsa.privateKey, digest, 256),
      a256gcm: {
        sync: () => {
          module.C_EncryptInit(session, gcm, aes);
          return module.C_Encrypt(session, block, Buffer.alloc(64));
        },
      },
      hs256: { sync: signer(none(pkcs11js.CKM_SHA256_HMAC), hmac, block, 32).sync },
    };
  },

  graphene() {
    const graphene = require('graphene-pk11');
    const module = graphene.Module.load(modulePath);
    module.initialize();
    const session = module.getSlots(0, true).open(graphene.SessionFlag.SERIAL_SESSION | graphene.SessionFlag.RW_SESSION);
    session.login(pin);
    const forPrivate = { token: false, private: true, sensitive: true };
    const ec = session.generateKeyPair(
      graphene.KeyGenMechanism.EC,
      { token: false, private: false, paramsECDSA: P256 },
      { ...forPrivate, sign: true },
    );
    const rsa = session.generateKeyPair(
      graphene.KeyGenMechanism.RSA,
      { token: false, private: false, modulusBits: 2048, publicExponent: Buffer.of(1, 0, 1) },
      { ...forPrivate, sign: true },
    );
    const aes = session.generateKey(graphene.KeyGenMechanism.AES, { ...forPrivate, valueLen: 32, encrypt: true });
    const hmac = session
      .create({
        ...forPrivate,
        class: graphene.ObjectClass.SECRET_KEY,
        keyType: graphene.KeyType.GENERIC_SECRET,
        value: Buffer.alloc(32, 9),
        sign: true,
      })
      .toType();
    const gcm = { name: 'AES_GCM', params: new graphene.AesGcm240Params(Buffer.alloc(12, 1), undefined, 128) };
    return {
      es256: { sync: () => session.createSign('ECDSA', ec.privateKey).once(digest) },
      rs256: { sync: () => session.createSign('SHA256_RSA_PKCS', rsa.privateKey).once(digest) },
      a256gcm: { sync: () => session.createCipher(gcm, aes).once(block, Buffer.alloc(64)) },
      hs256: { sync: () => session.createSign('SHA256_HMAC', hmac).once(block) },
    };
  },
};

function figure(count, cpu, started) {
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  const { user, system } = process.cpuUsage(cpu);
  return { perSecond: count / seconds, cpuMicroseconds: (user + system) / count };
}

function measureSync(run) {
  for (let i = 0; i < 20; i += 1) run();
  const end = performance.now() + Number(milliseconds);
  const cpu = process.cpuUsage();
  const started = process.hrtime.bigint();
  let count = 0;
  while (performance.now() < end) {
    for (let i = 0; i < 5; i += 1) run();
    count += 5;
  }
  return figure(count, cpu, started);
}

async function measureAsync(run, lanes) {
  await run(0);
  const end = performance.now() + Number(milliseconds);
  const cpu = process.cpuUsage();
  const started = process.hrtime.bigint();
  let count = 0;
  const lane = async (number) => {
    while (performance.now() < end) {
      await run(number);
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: lanes }, (_, number) => lane(number)));
  return figure(count, cpu, started);
}

async function main() {
  const operations = await sides[side]();
  const result = {};
  for (const [name, { sync, async }] of Object.entries(operations)) {
    result[`${name} sync`] = measureSync(sync);
    if (!async) continue;
    result[`${name} async 1`] = await measureAsync(async, 1);
    result[`${name} async 16`] = await measureAsync(async, 16);
  }
  console.log(JSON.stringify(result));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
