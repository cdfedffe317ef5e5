import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TestPool } from '../scenarios/pool.js';

const MAIN = join(__dirname, '../../dist/cli/main.js');
const home = mkdtempSync(join(tmpdir(), 'trivet-completion-'));
let pool: TestPool;

beforeAll(async () => {
  // As it is called once it is installed.
  mkdirSync(join(home, 'bin'));
  const program = join(home, 'bin/trivet');
  writeFileSync(program, `#!/bin/sh\nexec ${process.execPath} ${MAIN} "$@"\n`);
  chmodSync(program, 0o755);
  writeFileSync(join(home, 'a file.json'), '');
  pool = await TestPool.start();
  const client = await pool.client();
  for (const name of ['first-key', 'second-key', 'gone-key']) {
    await client.call('POST', `/keys/${name}/create`, { kty: 'EC' });
  }
  await client.call('DELETE', '/keys/gone-key');
});

afterAll(async () => {
  await pool.remove();
  rmSync(home, { recursive: true, force: true });
});

function shell(program: string, script: string): string {
  const { status, stdout, stderr } = spawnSync(program, ['-c', script], {
    cwd: home,
    encoding: 'utf8',
    env: {
      PATH: `${join(home, 'bin')}:${process.env['PATH'] ?? ''}`,
      HOME: home,
      TRIVET_HOME: pool.directory,
    },
  });
  expect([status, stderr]).toEqual([0, '']);
  return stdout;
}

/** What bash offers at the end of a line. */
function offered(...words: string[]): string[] {
  const line = ['trivet', ...words].map((word) => `'${word}'`).join(' ');
  const out = shell(
    'bash',
    `source <(trivet completion bash)
     COMP_WORDS=(${line}); COMP_CWORD=${words.length}
     _trivet; printf '%s\\n' "\${COMPREPLY[@]}"`,
  );
  return out.split('\n').filter((word) => word !== '');
}

test('completion: bash offers commands, options and choices', () => {
  expect(offered('sta')).toEqual(['status']);
  expect(offered('')).toEqual(expect.arrayContaining(['up', 'key', 'role', 'doctor', 'completion']));
  expect(offered('')).not.toContain('complete');
  expect(offered('security-domain', 'make')).toEqual(['make-keys']);
  expect(offered('key', 'create', 'x', '--k')).toEqual(['--kty']);
  expect(offered('key', 'create', 'x', '--kty', '')).toEqual(['EC', 'RSA', 'oct']);
  expect(offered('partition', 'kill', '')).toEqual(['0', '1', '2']);
  expect(offered('completion', '')).toEqual(['bash', 'zsh']);
});

test('completion: bash offers names that only the pool knows', () => {
  expect(offered('key', 'show', '')).toEqual(['first-key', 'second-key']);
  expect(offered('key', 'sign', '--alg', 'ES256', 's')).toEqual(['second-key']);
  expect(offered('key', 'recover', '')).toEqual(['gone-key']);
  expect(offered('key', 'show', '--deleted', '')).toEqual(['gone-key']);
  expect(offered('key', 'create', '')).toEqual([]);
  expect(offered('key', 'list', '--pool', '')).toEqual(['dev']);
  expect(offered('principal', 'reset', '')).toEqual(['admin']);
  expect(offered('role', 'assignment', 'create', '--role', 'Managed HSM Crypto O')).toEqual([
    'Managed\\ HSM\\ Crypto\\ Officer',
  ]);
  expect(offered('role', 'assignment', 'list', '--scope', '/keys/f')).toEqual(['/keys/first-key']);
});

test('completion: bash offers files where one is meant, and nothing where nobody answers', () => {
  expect(offered('key', 'restore', '--in', 'a')).toEqual(['a file.json']);
  expect(offered('key', 'show', '--data-dir', '/nowhere', '')).toEqual([]);
});

test('completion: zsh takes its script, and asks as bash does', () => {
  const out = shell(
    'zsh',
    `autoload -Uz compinit && compinit -u -d ${join(home, 'zcompdump')}
     source <(trivet completion zsh)
     compadd() { shift; print -l -- "$@" }
     words=(trivet key show ''); CURRENT=4; _trivet`,
  );
  expect(out.trim().split('\n')).toEqual(['first-key', 'second-key']);
});
