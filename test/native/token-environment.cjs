// A Jest environment with a SoftHSM2 token directory of its own per test file. The module reads SOFTHSM2_CONF
// with getenv; the process.env that a test sees is only a copy, so it has to be set out here.
'use strict';
const { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { TestEnvironment } = require('jest-environment-node');

function findModule() {
  const candidates = [
    process.env.TRIVET_PKCS11_MODULE,
    '/usr/lib/softhsm/libsofthsm2.so',
    ...readdirSync('/usr/lib').map((name) => `/usr/lib/${name}/softhsm/libsofthsm2.so`),
  ];
  const found = candidates.find((path) => path !== undefined && existsSync(path));
  if (found === undefined) throw new Error('no SoftHSM2 module found; set TRIVET_PKCS11_MODULE');
  return found;
}

module.exports = class TokenEnvironment extends TestEnvironment {
  constructor(config, context) {
    const directory = mkdtempSync(join(tmpdir(), 'trivet-token-'));
    mkdirSync(join(directory, 'tokens'));
    writeFileSync(
      join(directory, 'softhsm2.conf'),
      `directories.tokendir = ${join(directory, 'tokens')}\nobjectstore.backend = file\nlog.level = ERROR\n`,
    );
    process.env.SOFTHSM2_CONF = join(directory, 'softhsm2.conf');
    process.env.TRIVET_PKCS11_MODULE = findModule();
    super(config, context);
    this.directory = directory;
  }

  async teardown() {
    await super.teardown();
    rmSync(this.directory, { recursive: true, force: true });
  }
};
