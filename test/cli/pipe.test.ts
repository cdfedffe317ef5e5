import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

test('cli: a reader that has heard enough is no failure', async () => {
  const main = join(__dirname, '../../dist/cli/main.js');
  const child = spawn(process.execPath, [main, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.destroy(); // as `| head -c 0` does
  let complaint = '';
  child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  expect({ code, complaint }).toEqual({ code: 0, complaint: '' });
});
