// Two linked meshes in one process; a listener throws at the first message. The process must end by it.
'use strict';
const { mkdtempSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const dist = join(__dirname, '..', '..', '..', '..', 'dist');
const { generateKeyPairSync } = require('node:crypto');
const { SoftwareAttestor } = require(join(dist, 'instance/replication/attestor.js'));
const { Mesh } = require(join(dist, 'instance/replication/mesh.js'));
const { ownIdentity } = require(join(dist, 'instance/replication/identity.js'));

const { privateKey } = generateKeyPairSync('ed25519');
const hostKey = privateKey.export({ format: 'pem', type: 'pkcs8' });

function attestorOf(instance) {
  const allowed = () => ({ hosts: [attestor.host], measurements: 'any' });
  const attestor = new SoftwareAttestor({
    pool: 'dev',
    instance,
    hostKey,
    measure: () => 'ab'.repeat(32),
    allowed,
  });
  return attestor;
}

async function main() {
  const directories = [0, 1].map(() => mkdtempSync(join(tmpdir(), 'trivet-mesh-')));
  process.on('exit', () => directories.forEach((path) => rmSync(path, { recursive: true, force: true })));
  const identities = await Promise.all(
    directories.map((path, instance) => ownIdentity(path, 'dev', instance)),
  );
  const meshes = await Promise.all(
    identities.map((identity, instance) => Mesh.listen(identity, attestorOf(instance))),
  );
  const peers = meshes.map((mesh, instance) => ({
    instance,
    certificate: identities[instance].certificate,
    port: mesh.port,
  }));
  meshes[0].on('message', () => {
    throw new Error('a broken assumption');
  });
  meshes[1].on('linked', () => meshes[1].send(0, 'hello'));
  meshes[1].on('unlinked', () => process.exit(0));
  meshes.forEach((mesh, self) => mesh.introduce(self, [peers[1 - self]]));
}

void main();
