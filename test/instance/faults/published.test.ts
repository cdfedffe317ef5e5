// The published figures, row by row as Microsoft's page has them.
import { publishedLane } from '../../../src/instance/faults/published.js';
import type { KeySpec } from '../../../src/values/key-spec.js';
import type { OperationName } from '../../../src/values/operations.js';

const rsa = (size: 2048 | 3072 | 4096): KeySpec => ({ kty: 'RSA-HSM', size, exponent: 65_537 });
const ec = (curve: 'P-256' | 'P-256K' | 'P-384' | 'P-521'): KeySpec => ({ kty: 'EC-HSM', curve });
const aes = (size: number): KeySpec => ({ kty: 'oct-HSM', size });

const rates = (operation: OperationName, specs: readonly KeySpec[]): (number | undefined)[] =>
  specs.map((spec) => publishedLane(operation, () => spec)?.perSecond);

test('published: RSA', () => {
  const sizes = [rsa(2048), rsa(3072), rsa(4096)];
  expect(rates('KeyCreate', sizes)).toEqual([1, 1, 1]);
  for (const operation of ['KeyDelete', 'KeyPurge', 'KeyBackup', 'KeyRestore'] as const) {
    expect(rates(operation, sizes)).toEqual([10, 10, 10]);
  }
  expect(rates('KeyGet', sizes)).toEqual([1_100, 1_100, 1_100]);
  expect(rates('KeyEncrypt', sizes)).toEqual([2_800, 2_700, 2_300]);
  expect(rates('KeyDecrypt', sizes)).toEqual([1_100, 360, 160]);
  expect(rates('KeyWrap', sizes)).toEqual([2_200, 1_900, 1_900]);
  expect(rates('KeyUnwrap', sizes)).toEqual([1_100, 360, 160]);
  expect(rates('KeySign', sizes)).toEqual([900, 340, 150]);
  expect(rates('KeyVerify', sizes)).toEqual([3_400, 3_400, 3_700]);
});

test('published: EC', () => {
  const curves = [ec('P-256'), ec('P-256K'), ec('P-384'), ec('P-521')];
  expect(rates('KeySign', curves)).toEqual([330, 330, 160, 200]);
  expect(rates('KeyVerify', curves)).toEqual([130, 130, 82, 28]);
  expect(rates('KeyDecrypt', curves)).toEqual([undefined, undefined, undefined, undefined]);
});

test('published: AES', () => {
  const sizes = [aes(128), aes(192), aes(256), aes(512)];
  expect(rates('KeyWrap', sizes)).toEqual([2_100, 2_100, 2_100, undefined]);
  expect(rates('KeyUnwrap', sizes)).toEqual([1_800, 1_900, 2_200, undefined]);
  expect(rates('KeyEncrypt', sizes)).toEqual([undefined, undefined, undefined, undefined]);
});

test('published: a key that is not there, and what nobody has measured, have no figure', () => {
  expect(publishedLane('KeySign', () => undefined)).toBeUndefined();
  expect(publishedLane('RandomBytesGet', () => undefined)).toBeUndefined();
  expect(publishedLane('KeyGet', () => undefined)).toEqual({ name: 'KeyGet', perSecond: 1_100 });
});
