// The console in a browser of the distribution, installed by scripts/test-console; not part of the normal run.
const { join } = require('node:path');

/** @type {import('jest').Config} */
module.exports = {
  ...require('../../jest.config.cjs'),
  rootDir: join(__dirname, '../..'),
  roots: ['<rootDir>/test/console'],
  testPathIgnorePatterns: ['/node_modules/'],
  maxWorkers: 1,
};
