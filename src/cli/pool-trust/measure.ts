// Measures what an instance would run, in a process that is set up as an instance is: its options, its program, no
// environment.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { INSTANCE_NODE_OPTIONS } from '../../fabric/pools/instance-process.js';
import { print } from '../ask.js';
import { CommandError } from '../failure.js';
import { findModule } from '../home.js';

interface Measurement {
  readonly digest: string;
  readonly components: readonly { readonly name: string; readonly sha256: string }[];
}

export function measureBuild(options: { module?: string; all?: true; json?: true }): void {
  const program = join(__dirname, '..', '..', 'program', 'instance', 'measure.js');
  const measured = spawnSync(
    process.execPath,
    [...INSTANCE_NODE_OPTIONS, program, findModule(options.module)],
    {
      env: {},
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  if (measured.status !== 0) throw new CommandError(`it cannot be measured: ${measured.stderr.trim()}`);
  const { digest, components } = JSON.parse(measured.stdout) as Measurement;
  if (options.json) {
    print(JSON.stringify({ measurement: digest, ...(options.all && { components }) }));
    return;
  }
  print(digest);
  if (options.all) for (const { name, sha256 } of components) print(`${sha256}  ${name}`);
}
