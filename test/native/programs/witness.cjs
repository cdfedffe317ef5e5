// An independent look at a token that our addon wrote: what pkcs11js (argument 1 is `pkcs11js`) or graphene-pk11
// finds there, as JSON. Argument 2 is the PIN. Signs with the private key so that the parent can check it.
'use strict';
const { Buffer } = require('node:buffer');
const { createHash } = require('node:crypto');

const [, , witness, pin] = process.argv;
const modulePath = process.env.TRIVET_PKCS11_MODULE;
const digest = createHash('sha256').update('witnessed').digest();
const hex = (bytes) => bytes.toString('hex');

function pkcs11js() {
  const pkcs11 = require('pkcs11js');
  const module = new pkcs11.PKCS11();
  module.load(modulePath);
  module.C_Initialize();
  const slot = module
    .C_GetSlotList(true)
    .find((candidate) => module.C_GetTokenInfo(candidate).label.trim() === 'witnessed');
  const session = module.C_OpenSession(slot, pkcs11.CKF_SERIAL_SESSION);
  module.C_Login(session, pkcs11.CKU_USER, pin);
  module.C_FindObjectsInit(session, [{ type: pkcs11.CKA_TOKEN, value: true }]);
  const found = {};
  const handles = [];
  for (let handle = module.C_FindObjects(session); handle; handle = module.C_FindObjects(session)) {
    handles.push(handle);
  }
  module.C_FindObjectsFinal(session);
  for (const handle of handles) {
    const read = (type, value) => module.C_GetAttributeValue(session, handle, [{ type, value }])[0].value;
    const label = read(pkcs11.CKA_LABEL).toString();
    found[label] = {
      class: read(pkcs11.CKA_CLASS, 0).readUInt32LE(),
      id: hex(read(pkcs11.CKA_ID)),
      private: read(pkcs11.CKA_PRIVATE)[0] === 1,
      ...(label === 'secret' && { value: hex(read(pkcs11.CKA_VALUE)) }),
    };
    if (label === 'signing') {
      module.C_SignInit(session, { mechanism: pkcs11.CKM_ECDSA, parameter: null }, handle);
      found[label].signature = hex(module.C_Sign(session, digest, Buffer.alloc(64)));
    }
  }
  module.C_CloseSession(session);
  module.C_Finalize();
  return found;
}

function graphene() {
  const { Module, SessionFlag, ObjectClass } = require('graphene-pk11');
  const module = Module.load(modulePath, 'SoftHSM2');
  module.initialize();
  const slots = module.getSlots(true);
  let slot;
  for (let i = 0; i < slots.length; i += 1) {
    if (slots.items(i).getToken().label.trim() === 'witnessed') slot = slots.items(i);
  }
  const session = slot.open(SessionFlag.SERIAL_SESSION);
  session.login(pin);
  const found = {};
  const objects = session.find({ token: true });
  for (let i = 0; i < objects.length; i += 1) {
    const object = objects.items(i);
    const { label, id, private: isPrivate } = object.getAttribute({ label: null, id: null, private: null });
    found[label] = { class: object.class, id: hex(id), private: isPrivate };
    if (object.class === ObjectClass.SECRET_KEY)
      found[label].value = hex(object.getAttribute({ value: null }).value);
    if (object.class === ObjectClass.PRIVATE_KEY) {
      found[label].signature = hex(session.createSign('ECDSA', object.toType()).once(digest));
    }
  }
  session.close();
  module.finalize();
  return found;
}

process.stdout.write(JSON.stringify(witness === 'pkcs11js' ? pkcs11js() : graphene()));
