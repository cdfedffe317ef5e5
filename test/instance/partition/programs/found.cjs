// Founds a token in a directory, for who kills this process meanwhile.
'use strict';
const { join } = require('node:path');
const dist = join(__dirname, '..', '..', '..', '..', 'dist');
const { Provision } = require(join(dist, 'instance/partition/provision.js'));
const { TokenDirectory } = require(join(dist, 'instance/partition/token.js'));

const [, , path, domain, module_] = process.argv;

async function main() {
  await new Provision(await TokenDirectory.open(path), module_).found(domain);
}

void main();
