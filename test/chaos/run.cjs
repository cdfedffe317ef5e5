// Starts the chaos program, which is TypeScript like the tests, without their runner: it runs inside a network namespace
// of its own and for as long as it takes. Compiles file by file; types are checked with those of the tests.
const { existsSync, readFileSync } = require('node:fs');
const Module = require('node:module');
const { transformSync } = require('@swc/core');

const resolve = Module._resolveFilename;
Module._resolveFilename = (request, parent, ...rest) => {
  const typescript = request.replace(/\.js$/, '.ts');
  const isOurs = request.startsWith('.') && typescript !== request && parent?.filename.endsWith('.ts');
  const wanted =
    isOurs && existsSync(require('node:path').resolve(parent.path, typescript)) ? typescript : request;
  return resolve(wanted, parent, ...rest);
};
Module._extensions['.ts'] = (module, filename) => {
  const { code } = transformSync(readFileSync(filename, 'utf8'), {
    filename,
    sourceMaps: 'inline',
    jsc: { target: 'es2023', parser: { syntax: 'typescript' } },
    module: { type: 'commonjs' },
  });
  module._compile(code, filename);
};
process.setSourceMapsEnabled(true);
require('./main.ts');
