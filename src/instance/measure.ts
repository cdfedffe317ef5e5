// Measures this build as an instance does, prints that as JSON and ends: for who has to allow a build before it runs.
// Opens no token and no socket. Argument: the path of the PKCS#11 module.
import { measure } from './replication/measurement.js';
// What an instance has in its memory when it measures itself, code that its packages find by chance included.
import './api/server.js';
import './hsm/follow.js';
import './partition/partition.js';
import './replication/mesh.js';
import './store/store.js';

const [path] = process.argv.slice(2);
if (path === undefined) throw new TypeError('the path of the PKCS#11 module is missing');
process.stdout.write(`${JSON.stringify(measure({ module: path }))}\n`);
