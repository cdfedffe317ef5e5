// Programs of the distribution, installed by scripts/test-clients; not part of the normal run.
const { join } = require('node:path');

/** @type {import('jest').Config} */
module.exports = {
  ...require('../../jest.config.cjs'),
  rootDir: join(__dirname, '../..'),
  roots: ['<rootDir>/test/clients-installed'],
  testPathIgnorePatterns: ['/node_modules/'],
};
