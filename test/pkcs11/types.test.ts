// What does not compile: `tsc -p test` fails on a line below that is expected to be refused and is not. Nothing here is
// called.
import type * as packed from 'trivet/pkcs11';
import { CKG, CKM, mechanism, Token, type AttributeValues, type Template } from '../../src/pkcs11/pkcs11.js';

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;

/** Compiles for `true` alone. */
function same<A, B>(answer: Same<A, B>): void {
  expect(answer).toBe(true);
}

test('a template takes for each attribute what it is', () => {
  const template: Template = {
    token: true,
    keyType: 0,
    label: 'text',
    id: Buffer.of(1),
    allowedMechanisms: [1],
  };
  // @ts-expect-error a boolean is not a number
  const flag: Template = { token: 1 };
  // @ts-expect-error text has no bytes
  const label: Template = { label: Buffer.from('text') };
  // @ts-expect-error no such attribute
  const name: Template = { lable: 'text' };
  // @ts-expect-error one deeper it is the same
  const nested: Template = { wrapTemplate: { sensitive: 'yes' } };
  expect([template, flag, label, name, nested]).toHaveLength(5);
});

test('what is read has the types of what was asked for', () => {
  type Read = AttributeValues<'label' | 'modulus' | 'sensitive' | 'modulusBits'>;
  same<Read['label'], string | undefined>(true);
  same<Read['modulus'], Buffer | undefined>(true);
  same<Read['sensitive'], boolean | undefined>(true);
  same<Read['modulusBits'], number | undefined>(true);
  same<Extract<keyof Read, 'id'>, never>(true);
  const read = async (token: Token): Promise<void> => {
    const point: Buffer | undefined = (await token.getAttributes(1, ['ecPoint'])).ecPoint;
    for await (const { attributes } of token.find({ label: 'key' }, ['id', 'token'])) {
      const found: AttributeValues<'id' | 'token'> = attributes;
      expect([point, found]).toHaveLength(2);
    }
  };
  expect(read).toBeInstanceOf(Function);
});

test('a mechanism takes its own parameter and no other', () => {
  const iv = Buffer.alloc(16);
  const good = [
    mechanism('ECDSA'),
    mechanism('AES_CBC', iv),
    mechanism('AES_KEY_WRAP'),
    mechanism('AES_KEY_WRAP', iv),
    mechanism('SHA256_HMAC_GENERAL', 16),
    mechanism('RSA_PKCS_PSS', { hashAlg: CKM.SHA256, mgf: CKG.MGF1_SHA256, saltLength: 32 }),
  ];
  expect(good).toHaveLength(6);
  const bad = () => [
    // @ts-expect-error it has none
    mechanism('ECDSA', iv),
    // @ts-expect-error it needs one
    mechanism('AES_CBC'),
    // @ts-expect-error that is another's
    mechanism('AES_GCM', { counterBits: 1, counterBlock: iv }),
    // @ts-expect-error not all of it
    mechanism('AES_GCM', { iv }),
    // @ts-expect-error no such mechanism
    mechanism('ROT13'),
  ];
  expect(bad).toBeInstanceOf(Function);
});

test('the package declares the same as the sources', () => {
  same<keyof typeof packed.CKM, keyof typeof CKM>(true);
  same<keyof packed.Token, keyof Token>(true);
  same<packed.Template, Template>(true);
});
