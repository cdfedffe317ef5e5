// An independent look at a token: what graphene-pk11 finds there when the user is logged in, as JSON. Arguments: the
// module and the PIN; SOFTHSM2_CONF says which token.
'use strict';
const { Module, SessionFlag } = require('graphene-pk11');

const [, , path, pin] = process.argv;
const names = [
  'class',
  'keyType',
  'token',
  'private',
  'trusted',
  'sensitive',
  'extractable',
  'alwaysSensitive',
  'neverExtractable',
  'modifiable',
  'wrap',
  'unwrap',
  'encrypt',
  'decrypt',
  'sign',
  'verify',
  'derive',
];

const module_ = Module.load(path, 'SoftHSM2');
module_.initialize();
const slots = module_.getSlots(true);
let slot;
for (let i = 0; i < slots.length; i += 1) {
  if (slots.items(i).getToken().label.trim() === 'trivet') slot = slots.items(i);
}
const session = slot.open(SessionFlag.SERIAL_SESSION);
const look = () => {
  const found = {};
  const objects = session.find();
  for (let i = 0; i < objects.length; i += 1) {
    const object = objects.items(i);
    const { label } = object.getAttribute({ label: null });
    found[label] = {};
    for (const name of names) {
      try {
        found[label][name] = object.getAttribute({ [name]: null })[name];
      } catch (error) {
        found[label][name] = /CKR_\w+/.exec(error.message)?.[0];
      }
    }
    for (const secret of ['value', 'privateExponent', 'prime1']) {
      try {
        object.getAttribute({ [secret]: null });
        found[label][secret] = 'readable';
      } catch (error) {
        found[label][secret] = /CKR_\w+/.exec(error.message)?.[0];
      }
    }
  }
  return found;
};
const before = look();
session.login(pin);
const after = look();
process.stdout.write(JSON.stringify({ before, after }));
session.logout();
session.close();
module_.finalize();
