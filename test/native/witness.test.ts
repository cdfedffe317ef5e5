/** @jest-environment ./test/native/token-environment.cjs */
// What our addon says is in the token is there: two other programs say the same.
import { randomBytes, verify, type KeyObject } from 'node:crypto';
import { dirname } from 'node:path';
import { CKO } from '../../src/instance/pkcs11/constants.js';
import { aesKey, ecPair } from '../instance/pkcs11/keys.js';
import { openToken, userPin } from '../instance/pkcs11/token.js';
import { run } from './program.js';

const value = randomBytes(32);
let publicKey: KeyObject;

beforeAll(async () => {
  const { library, session } = await openToken('witnessed');
  await aesKey(session, value, { token: true, label: 'secret', id: Buffer.of(1, 2, 3) });
  const pair = await ecPair(session, 'P-256', { token: true, label: 'signing', id: Buffer.of(4) });
  publicKey = pair.node;
  await session.createObject({
    class: CKO.DATA,
    token: true,
    private: false,
    label: 'interim',
    value: Buffer.from('gone'),
  });
  const [interim] = await session.findObjects({ label: 'interim' });
  await session.destroyObject(interim ?? 0);
  await library.close();
});

test.each(['pkcs11js', 'graphene-pk11'])('%s finds what we wrote, and signs with it', async (witness) => {
  const config = process.env['SOFTHSM2_CONF'] ?? '';
  const directory = { path: dirname(config), config, remove: () => undefined };
  const { stdout, stderr, code } = await run('witness.cjs', [witness, userPin.toString()], directory);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const found = JSON.parse(stdout) as Record<string, Record<string, unknown>>;
  const signature = Buffer.from(String(found['signing']?.['signature']), 'hex');
  delete found['signing']?.['signature'];
  expect(found).toEqual({
    secret: { class: CKO.SECRET_KEY, id: '010203', private: true, value: value.toString('hex') },
    signing: { class: CKO.PRIVATE_KEY, id: '04', private: true },
  });
  const key = { key: publicKey, dsaEncoding: 'ieee-p1363' as const };
  expect(verify('sha256', Buffer.from('witnessed'), key, signature)).toBe(true);
});
