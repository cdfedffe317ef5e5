// Tests are TypeScript, compiled file by file; types are checked by `tsc -p test`. What they test is the build in
// dist/, the same files that run in service, worker threads and child processes included; `test/build.cjs` brings it
// up to date first.
const compile = [
  '@swc/jest',
  { jsc: { target: 'es2023', parser: { syntax: 'typescript' } }, module: { type: 'commonjs' } },
];

/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  // What needs programs of the distribution; `npm run test:clients` and `test:console` install and run them.
  testPathIgnorePatterns: ['/node_modules/', '<rootDir>/test/clients-installed/', '<rootDir>/test/console/'],
  globalSetup: '<rootDir>/test/build.cjs',
  globalTeardown: '<rootDir>/test/clean.cjs',
  testSequencer: '<rootDir>/test/sequencer.cjs',
  moduleNameMapper: { '^(?:\\.{1,2}/)+src/(.*)\\.js$': '<rootDir>/dist/$1.js', '^(\\.{1,2}/.*)\\.js$': '$1' },
  transform: {
    '^.+\\.ts$': compile,
    // What Jest cannot load as it is: modules, and what imports late.
    '/node_modules/jose/.+\\.js$': compile,
    '/dist/fabric/main\\.js$': compile,
  },
  transformIgnorePatterns: ['/node_modules/(?!jose/)'],
  testTimeout: 60_000,
  // A pool's own processes leave one of two cores half idle: two files at a time take two thirds of the time.
  maxWorkers: 2,
};
