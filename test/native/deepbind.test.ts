/** @jest-environment ./test/native/token-environment.cjs */
// To which libcrypto the module is bound, by the dynamic loader's own account. Node exports another OpenSSL under
// the same names; without RTLD_DEEPBIND the module's calls land there.
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { makeDirectory, run } from './program.js';

const BINDING = /binding file (\S+) \[0\] to (\S+) \[0\]: \w+ symbol `(\w+)'/;

interface Binding {
  readonly from: string;
  readonly to: string;
  readonly symbol: string;
}

async function bindings(): Promise<Binding[]> {
  const directory = makeDirectory();
  const outcome = await run('bindings.cjs', [], directory, {
    LD_DEBUG: 'bindings',
    LD_DEBUG_OUTPUT: join(directory.path, 'loader'),
  });
  expect(outcome).toMatchObject({ code: 0, signal: null });
  const found = readdirSync(directory.path)
    .filter((name) => name.startsWith('loader'))
    .flatMap((name) => readFileSync(join(directory.path, name), 'utf8').split('\n'))
    .flatMap((line) => {
      const [, from, to, symbol] = BINDING.exec(line) ?? [];
      return from && to && symbol ? [{ from: basename(from), to: basename(to), symbol }] : [];
    });
  directory.remove();
  return found;
}

test("the module's OpenSSL symbols, and libcrypto's own, are bound to libcrypto and none to Node", async () => {
  const all = await bindings();
  const module = basename(process.env['TRIVET_PKCS11_MODULE'] ?? '');
  const node = basename(process.execPath);
  const ofModule = all.filter(({ from }) => from === module);
  const openssl = ofModule.filter(({ symbol }) => /^(EVP|RSA|EC|BN|ECDSA|CRYPTO|OPENSSL)_/.test(symbol));
  expect(openssl.length).toBeGreaterThan(50);
  expect([...new Set(openssl.map(({ to }) => to))]).toEqual([expect.stringMatching(/^libcrypto\.so/)]);
  const isolated = all.filter(({ from }) => from === module || from.startsWith('libcrypto.so'));
  expect(isolated.filter(({ to }) => to === node)).toEqual([]);
});
