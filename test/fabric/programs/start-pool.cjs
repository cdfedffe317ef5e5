// Starts a pool of the given program, stops one of its processes where it stands, says their ids, and waits to be
// killed.
const { Pool } = require('../../../dist/fabric/pools/pool.js');

const [directory, name, pkcs11, script] = process.argv.slice(2);
const pool = new Pool(
  directory,
  name,
  {
    module: pkcs11,
    domain: 'managedhsm.localhost',
    dataPort: 1,
    authority: '',
    clockOffset: 0,
    hostKeyFile: '',
    found: true,
  },
  { script },
);
void pool.ready().then(() => {
  pool.instance(2).pause();
  process.send(pool.status().instances.map(({ pid }) => pid));
});
