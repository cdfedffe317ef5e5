// One life of a partition, to be killed at any moment: makes the token if there is none, opens it, proves a key that an
// earlier life sealed (sent as the first message, or null), says `open`, then makes, uses and drops keys without end.
'use strict';
const { randomUUID, randomBytes } = require('node:crypto');
const { join } = require('node:path');
const dist = join(__dirname, '..', '..', '..', '..', 'dist');
const { Partition } = require(join(dist, 'instance/partition/partition.js'));
const { Provision } = require(join(dist, 'instance/partition/provision.js'));
const { TokenDirectory } = require(join(dist, 'instance/partition/token.js'));

const [, , path, module_] = process.argv;
const spec = { kty: 'EC-HSM', curve: 'P-256' };

async function lane(partition, name) {
  for (let round = 0; ; round += 1) {
    const key = await partition.generate(`${name}/${round}`, spec);
    await partition.prove(key);
    await partition.sign(key, 'ES256', randomBytes(32));
    partition.forget(key.id);
  }
}

async function live(known) {
  const tokens = await TokenDirectory.open(path);
  let [domain] = await tokens.domains();
  if (domain === undefined) {
    domain = randomUUID();
    await new Provision(tokens, module_).found(domain);
  }
  const partition = await Partition.open(tokens, domain, { module: module_, destroyedMax: 50 });
  if (known) await partition.prove(known);
  process.send({ open: known ?? (await partition.generate('known/1', spec)) });
  await Promise.all(['a', 'b', 'c'].map((name) => lane(partition, name)));
}

process.once('message', ({ known }) => {
  live(known).catch((error) => process.send({ failed: error.stack }));
});
