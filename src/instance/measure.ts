// Measures this build as an instance does, prints that as JSON and ends: for who has to allow a build before it runs.
// Opens no token and no socket. Argument: the path of the PKCS#11 module.
import './pkcs11/native.js'; // an instance has the addon in its memory
import { measure } from './replication/measurement.js';

const [path] = process.argv.slice(2);
if (path === undefined) throw new TypeError('the path of the PKCS#11 module is missing');
process.stdout.write(`${JSON.stringify(measure({ module: path }))}\n`);
