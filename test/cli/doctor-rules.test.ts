import { Unknown, type Facts } from '../../src/cli/doctor/facts.js';
import { checks, exitCode, judge, type Verdict } from '../../src/cli/doctor/rules.js';

const NOW = Date.parse('2026-05-01T12:00:00Z');
const DAY_MS = 86_400_000;

/** A machine that is well, with a pool that runs. */
const well: Facts = {
  root: '/data',
  fabric: { pid: 7, command: 'node' },
  killed: undefined,
  orphans: [],
  node: { version: '20.19.1', wanted: '20.19.0' },
  missingPrograms: [],
  missingBuild: [],
  native: { step: 'done', path: '/lib/hsm.so', description: 'SoftHSM', missing: [] },
  bootTimesMs: [1, 2, 3],
  directory: { exists: true, unwritable: undefined },
  files: [
    { path: '/data/ca.pem', mode: 0o644, uid: 1, directory: false },
    { path: '/data/admin.json', mode: 0o600, uid: 1, directory: false },
  ],
  uid: 1,
  custodianKeys: [],
  stale: [],
  broken: [],
  ports: [
    {
      port: 8443,
      option: '--control-port',
      holder: { pid: 7, command: 'node' },
      ours: true,
      refused: undefined,
    },
    {
      port: 9443,
      option: '--data-port',
      holder: { pid: 7, command: 'node' },
      ours: true,
      refused: undefined,
    },
  ],
  names: [{ name: 'dev.managedhsm.localhost', addresses: ['127.0.0.1'] }],
  caFile: '/data/ca.pem',
  certificates: [{ subject: 'CN=a', notBefore: NOW - DAY_MS, notAfter: NOW + 100 * DAY_MS }],
  bundles: [],
  connections: [{ whom: 'pool dev', withFile: undefined, withDefaults: undefined }],
  disk: { type: 0xef53, freeBytes: 2 ** 40, freeFiles: 10_000, countsFiles: true, syncMs: [1, 2, 3] },
  now: NOW,
  newestFile: NOW - 1_000,
  openFilesMax: 65_536,
  coreBytesMax: 0,
  partitions: [
    { pool: 'dev', id: 0, role: 'primary', inSync: true, paused: false, unplugged: false, reason: undefined },
  ],
  waiting: [],
};

function found(changed: Partial<Facts>): string[] {
  return judge({ ...well, ...changed }).flatMap(({ check, findings }) =>
    findings.map(({ severity, what }) => `${severity} ${check}: ${what}`),
  );
}

test('doctor: a machine that is well has every check well', () => {
  const verdicts = judge(well);
  expect(verdicts.map(({ check }) => check)).toEqual(checks);
  expect(verdicts.filter(({ well: said }) => said === undefined)).toEqual([]);
});

test.each<[string, Partial<Facts>, RegExp]>([
  [
    'old Node.js',
    { node: { version: '20.9.0', wanted: '20.19.0' } },
    /^problem node: .* 20\.9\.0 is too old/,
  ],
  [
    'an addon for another Node.js',
    { native: { step: 'addon', problem: 'was compiled against a different Node.js version using\nMODULE' } },
    /^problem addon: the addon was built for another Node\.js than 20\.19\.1/,
  ],
  [
    'mechanisms that are missing',
    { native: { step: 'done', path: '/lib/hsm.so', description: '', missing: ['CKM_ECDSA'] } },
    /^problem mechanisms: \/lib\/hsm\.so lacks CKM_ECDSA/,
  ],
  [
    'files of somebody else',
    { files: [{ path: '/data/x', mode: 0o600, uid: 9, directory: false }] },
    /^problem permissions: \/data\/x \(user 9\) of another user than this one \(1\)/,
  ],
  [
    'a public file that others may write',
    { files: [{ path: '/data/ca.pem', mode: 0o666, uid: 1, directory: false }] },
    /^problem permissions: others may use \/data\/ca\.pem \(mode 0666\)/,
  ],
  [
    'partitions without their fabric',
    { fabric: undefined, orphans: [{ pid: 12, command: 'node' }] },
    /^problem lock: .*process 12/,
  ],
  [
    'a certificate that is still to come',
    { certificates: [{ subject: 'CN=a', notBefore: NOW + 1, notAfter: NOW + DAY_MS }] },
    /^problem certificates: it is 2026-05-01.* before/,
  ],
  [
    'a certificate that has expired',
    { certificates: [{ subject: 'CN=a', notBefore: 0, notAfter: NOW }] },
    /^problem certificates: .*have expired/,
  ],
  [
    'a certificate that expires soon',
    { certificates: [{ subject: 'CN=a', notBefore: 0, notAfter: NOW + 29 * DAY_MS }] },
    /^warning certificates: certificates expire within 30 days/,
  ],
  ['a boot time that stands', { bootTimesMs: [5, 5, 6] }, /^problem clock: .*5, 5, 6/],
  [
    'a disk of another machine',
    { disk: { type: 0x6969, freeBytes: 2 ** 40, freeFiles: 0, countsFiles: false, syncMs: [1] } },
    /^problem disk: .*\(NFS\)/,
  ],
  [
    'a slow disk',
    { disk: { type: 0xef53, freeBytes: 2 ** 40, freeFiles: 0, countsFiles: false, syncMs: [1, 101, 400] } },
    /^warning disk: the disk takes 101 ms/,
  ],
  [
    'no room for files',
    { disk: { type: 0xef53, freeBytes: 2 ** 40, freeFiles: 3, countsFiles: true, syncMs: [1] } },
    /^problem space: only 3 files/,
  ],
  ['core files', { coreBytesMax: undefined }, /^warning limits: a partition that crashes/],
  ['a pool that waits', { waiting: ['dev'] }, /^warning partitions: pool dev waits/],
  [
    'a partition that joins',
    {
      partitions: [
        {
          pool: 'dev',
          id: 1,
          role: 'joining',
          inSync: false,
          paused: false,
          unplugged: false,
          reason: 'killed',
        },
      ],
    },
    /^warning partitions: partition 1 of dev is not in sync: killed/,
  ],
  [
    'a partition that is unplugged',
    {
      partitions: [
        {
          pool: 'dev',
          id: 2,
          role: 'down',
          inSync: false,
          paused: false,
          unplugged: true,
          reason: 'was unplugged',
        },
      ],
    },
    /^problem partitions: partition 2 of dev is unplugged$/,
  ],
  [
    'a port that may not be used',
    {
      fabric: undefined,
      ports: [
        { port: 443, option: '--control-port', holder: undefined, ours: false, refused: 'EACCES' },
        { port: 9443, option: '--data-port', holder: undefined, ours: false, refused: undefined },
      ],
    },
    /^problem control-port: port 443 may not be used/,
  ],
])('doctor: %s', (_what, changed, words) => {
  expect(found(changed)).toEqual([expect.stringMatching(words)]);
});

test('doctor: the exit code tells findings from what could not be checked', () => {
  const codeOf = (changed: Partial<Facts>, ignored?: string[]): number =>
    exitCode(judge({ ...well, ...changed }, ignored));
  const unknown = { partitions: new Unknown('no answer') };
  expect(codeOf({})).toBe(0);
  expect(codeOf({ custodianKeys: ['a.key'] })).toBe(1);
  expect(codeOf(unknown)).toBe(2);
  expect(codeOf({ ...unknown, custodianKeys: ['a.key'] })).toBe(1);
  expect(codeOf({ ...unknown, custodianKeys: ['a.key'] }, ['custodians', 'partitions'])).toBe(0);
  const [verdict] = judge({ ...well, ...unknown }).filter(({ check }: Verdict) => check === 'partitions');
  expect(verdict).toEqual({ check: 'partitions', findings: [], unchecked: 'no answer' });
});
