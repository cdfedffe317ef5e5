// What an instance's options are for.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { INSTANCE_NODE_OPTIONS } from '../../../src/fabric/pools/instance-process.js';

const PROGRAM = join(__dirname, '../programs/grow-old.cjs');

// Left to itself Node.js waits until there are four times as many as lived: over 120 MB here. A restore once grew by 136
// MB that way, on a machine that did other things too.
test('with its options an instance does not gather several times what it holds before old garbage is collected', () => {
  const { stdout, stderr } = spawnSync(process.execPath, [...INSTANCE_NODE_OPTIONS, PROGRAM], {
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  const { megabytes } = JSON.parse(stdout) as { megabytes: number };
  expect(megabytes).toBeGreaterThan(25); // what it holds
  expect(megabytes).toBeLessThan(80);
});
