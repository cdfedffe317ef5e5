// The instance's program itself, before it is introduced to anybody.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findModule } from '../../src/cli/home.js';
import { newHostKey } from '../../src/fabric/pools/host-key.js';
import { InstanceProcess } from '../../src/fabric/pools/instance-process.js';
import { OPEN_NETWORK } from '../../src/values/network.js';

const directory = mkdtempSync(join(tmpdir(), 'trivet-instance-'));
const hostKeyFile = join(directory, 'host-key.pem');
writeFileSync(hostKeyFile, newHostKey());
const instances: InstanceProcess[] = [];

afterAll(async () => {
  for (const instance of instances) instance.kill();
  await Promise.all(instances.map(({ ended }) => ended));
  rmSync(directory, { recursive: true });
});

function started(clockOffset: number): InstanceProcess {
  const script = join(__dirname, '../../dist/instance/main.js');
  const instance = new InstanceProcess(0, directory, { script }, () => undefined);
  instances.push(instance);
  instance.tell({
    kind: 'start',
    pool: 'dev',
    instance: 0,
    directory,
    module: findModule(undefined),
    domain: 'managedhsm.localhost',
    dataPort: 1,
    authority: '',
    founding: {
      tenantId: 'a tenant',
      administrators: [],
      cryptoUsers: [],
      issuers: [],
      retentionDays: 90,
      purgeProtection: false,
      movableClock: true,
    },
    clockOffset,
    hostKeyFile,
    network: { order: 0, rules: OPEN_NETWORK },
    found: true,
  });
  return instance;
}

test('instance: offsets that come right behind the start message are taken too', async () => {
  const instance = started(100);
  // All of them wait in its channel before it runs a single line.
  await Promise.all([instance.moveClock(200), instance.moveClock(300)]);
  expect([instance.reasonEnded, instance.clockOffset]).toEqual([undefined, 300]);
});
