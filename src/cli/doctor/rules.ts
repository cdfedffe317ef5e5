// What is well and what is not: pure rules over facts. Each finding says what is wrong and what to do about it. Looks at
// nothing itself.
import { Unknown, type FileFacts, type Facts, type Maybe, type PortFacts } from './facts.js';

/** A problem keeps the product from working, or keys from being safe; of a warning somebody should know. */
export type Severity = 'problem' | 'warning';

export interface Finding {
  readonly severity: Severity;
  readonly what: string;
  readonly remedy: string;
}

/** What came of one check: well and what was seen, findings, or that it could not be made. */
export interface Verdict {
  readonly check: string;
  readonly well?: string;
  readonly findings: readonly Finding[];
  readonly unchecked?: string;
}

type Judgement = string | readonly Finding[] | Unknown;
type Rule = (facts: Facts) => Judgement;

const MIB = 1024 * 1024;
const FREE_BYTES_MIN = 256 * MIB;
const FREE_FILES_MIN = 1_000;
/** A disk that takes longer to sync makes every change of a key slow. */
const SYNC_MS_MAX = 100;
const DAY_MS = 86_400_000;
const EXPIRY_MS = 30 * DAY_MS;
/** Clocks of file systems and of the machine differ by ticks. */
const AHEAD_MS = 60_000;
/** Connections of clients, three instances, files of the store. */
const OPEN_FILES_MIN = 1_024;
const NAMED_MAX = 5;

/** `f_type` of statfs(2), by what it means here. */
const MEMORY_DISKS: Readonly<Record<number, string>> = { 0x01021994: 'tmpfs', 0x858458f6: 'ramfs' };
const REMOTE_DISKS: Readonly<Record<number, string>> = {
  0x6969: 'NFS',
  0xff534d42: 'SMB',
  0xfe534d42: 'SMB',
  0x517b: 'SMB',
};

const problem = (what: string, remedy: string): readonly Finding[] => [{ severity: 'problem', what, remedy }];
const warning = (what: string, remedy: string): readonly Finding[] => [{ severity: 'warning', what, remedy }];

/** Applied in this order, which is the order of a start. */
const rules: Readonly<Record<string, Rule>> = {
  node: ({ node }) =>
    isAtLeast(node.version, node.wanted)
      ? `Node.js ${node.version}`
      : problem(
          `Node.js ${node.version} is too old: ${node.wanted} or newer is needed`,
          'install a newer one, and make the addon again with ./scripts/build',
        ),
  programs: ({ missingPrograms }) =>
    missingPrograms.length === 0
      ? 'flock and setpriv are there'
      : problem(
          `${missingPrograms.join(' and ')} cannot be found, and no partition starts without`,
          'install the package util-linux, and see that PATH has its directory (/usr/bin)',
        ),
  build: ({ missingBuild }) =>
    missingBuild.length === 0
      ? 'the program is built'
      : problem(
          `${listed(missingBuild)} missing: the program is not built to its end`,
          'run ./scripts/build',
        ),
  addon: ({ native, node }) => {
    if (native instanceof Unknown) return native;
    if (native.step !== 'addon') return 'the addon loads';
    return problem(
      /NODE_MODULE_VERSION|different Node\.js version/.test(native.problem)
        ? `the addon was built for another Node.js than ${node.version}: ${firstLine(native.problem)}`
        : `the addon cannot be loaded: ${firstLine(native.problem)}`,
      'build it for this Node.js with ./scripts/build',
    );
  },
  module: ({ native }) => {
    if (native instanceof Unknown) return native;
    switch (native.step) {
      case 'addon':
        return new Unknown('the addon, which loads it, cannot be loaded');
      case 'no-module':
        return problem(
          `there is no PKCS#11 module at ${native.looked.join(', ')}`,
          'install the package softhsm2 (Debian, Ubuntu: apt-get install softhsm2), or name a module with ' +
            '--module or TRIVET_PKCS11_MODULE',
        );
      case 'module':
        return problem(
          `${native.path} cannot be used as a PKCS#11 module: ${native.problem}`,
          'name the file of SoftHSM2 (libsofthsm2.so) with --module or TRIVET_PKCS11_MODULE, or leave both out',
        );
      case 'done':
        return `${native.path} loads: ${native.description}`;
    }
  },
  mechanisms: ({ native }) => {
    if (native instanceof Unknown) return native;
    if (native.step !== 'done') return new Unknown('no module could be loaded');
    return native.missing.length === 0
      ? 'the module has all mechanisms that are needed'
      : problem(
          `${native.path} lacks ${native.missing.join(', ')}`,
          'use SoftHSM2 2.6 or newer, built with OpenSSL and its elliptic curves',
        );
  },
  directory: ({ directory, root }) => {
    if (directory.unwritable !== undefined) {
      return problem(
        `${root} cannot be written: ${directory.unwritable}`,
        'make it writable for this user (it may be mounted read-only), or choose another --data-dir',
      );
    }
    return directory.exists ? `${root} can be written` : `${root} will be made by trivet up`;
  },
  permissions: ({ files, uid, root }) => {
    if (files instanceof Unknown) return files;
    const open = files.filter((file) => isTooOpen(file));
    const foreign = files.filter((file) => file.uid !== uid);
    const found: Finding[] = [];
    if (open.length > 0) {
      found.push({
        severity: 'problem',
        what: `others may use ${named(open.map(({ path, mode }) => `${path} (mode ${mode.toString(8).padStart(4, '0')})`))}`,
        remedy: `chmod -R go= ${root}; then chmod go+r ${root}/ca.pem, which is for everybody`,
      });
    }
    if (foreign.length > 0) {
      found.push({
        severity: 'problem',
        what: `${named(foreign.map((file) => `${file.path} (user ${file.uid})`))} of another user than this one (${uid})`,
        remedy: `run trivet as that user, or give all of it to one: chown -R ${uid} ${root}`,
      });
    }
    return found.length > 0 ? found : 'secrets are for their owner only';
  },
  custodians: ({ custodianKeys }) =>
    custodianKeys.length === 0
      ? 'no key of a custodian lies in the data directory'
      : warning(
          `${custodianKeys.length} custodian keys lie on this machine: ${named(custodianKeys)}`,
          'give each to its custodian and leave none here; for trying things out it may stay so',
        ),
  leftovers: ({ stale, broken }) => {
    const found: Finding[] = [];
    if (stale.length > 0) {
      found.push({
        severity: 'warning',
        what: `working copies of tokens that nobody works on: ${named(stale)}`,
        remedy: 'start the pool once with trivet up, which removes them, or remove them by hand',
      });
    }
    if (broken.length > 0) {
      found.push({
        severity: 'warning',
        what: `directories of partitions that were set aside, with the keys of that time: ${named(broken)}`,
        remedy: 'look at what broke them, then remove them',
      });
    }
    return found.length > 0 ? found : 'nothing is left over from earlier runs';
  },
  lock: ({ fabric, killed, orphans, root }) => {
    if (fabric) return `a fabric runs on the directory (process ${pidText(fabric.pid)})`;
    if (orphans instanceof Unknown) return orphans;
    if (orphans.length > 0) {
      return problem(
        `no fabric runs on ${root}, but partitions of it do: process ${orphans.map(({ pid }) => pidText(pid)).join(', ')}`,
        `end them, they keep the next start away: kill ${orphans.map(({ pid }) => pidText(pid)).join(' ')}`,
      );
    }
    if (killed !== undefined) {
      return warning(
        `the fabric that ran here last (process ${killed}) was killed`,
        `start it again, nothing is lost by that: trivet up --data-dir ${root}`,
      );
    }
    return 'no fabric runs on the directory';
  },
  'control-port': ({ ports, fabric }) => portRule(ports[0], fabric !== undefined),
  'data-port': ({ ports, fabric }) => portRule(ports[1], fabric !== undefined),
  names: ({ names }) => {
    const lost = names.filter(({ addresses }) => !addresses?.some(isLoopback));
    if (lost.length === 0) {
      return names.length === 0
        ? 'there is no pool yet'
        : `${names.map(({ name }) => name).join(', ')} found`;
    }
    const line = `127.0.0.1 ${lost.map(({ name }) => name).join(' ')}`;
    const elsewhere = lost.filter(({ addresses }) => addresses !== undefined);
    return warning(
      elsewhere.length > 0
        ? `${elsewhere.map(({ name, addresses = [] }) => `${name} leads to ${addresses.join(', ')}`).join('; ')}, not to this machine`
        : `nobody knows the name ${lost.map(({ name }) => name).join(', ')}`,
      `add to /etc/hosts:  ${line}  (or reach the pool as localhost, with disableChallengeResourceVerification in the SDK)`,
    );
  },
  certificates: ({ certificates, now, caFile }) => {
    if (certificates instanceof Unknown) return certificates;
    if (certificates.length === 0) return 'there are no certificates yet';
    const shown = (time: number): string => new Date(time).toISOString();
    const early = certificates.filter(({ notBefore }) => now < notBefore);
    if (early.length > 0) {
      return problem(
        `it is ${shown(now)} here, before certificates begin to be valid: ${early.map(({ subject, notBefore }) => `${subject} (${shown(notBefore)})`).join(', ')}`,
        'set the clock of this machine right',
      );
    }
    const late = certificates.filter(({ notAfter }) => now >= notAfter);
    if (late.length > 0) {
      return problem(
        `certificates of ${String(caFile)} have expired: ${late.map(({ subject, notAfter }) => `${subject} (${shown(notAfter)})`).join(', ')}`,
        'set the clock of this machine right; if it is, the installation has reached the end of its authority',
      );
    }
    const soon = certificates.filter(({ notAfter }) => notAfter - now < EXPIRY_MS);
    return soon.length > 0
      ? warning(
          `certificates expire within 30 days: ${soon.map(({ subject, notAfter }) => `${subject} (${shown(notAfter)})`).join(', ')}`,
          'plan for new ones',
        )
      : `the certificates are valid until ${shown(Math.min(...certificates.map(({ notAfter }) => notAfter)))}`;
  },
  connections: ({ connections, caFile }) => {
    if (connections instanceof Unknown) return connections;
    const wrong = connections.filter(({ withFile }) => withFile !== undefined);
    if (wrong.length > 0) {
      return problem(
        wrong.map(({ whom, withFile }) => `${whom} does not verify: ${String(withFile)}`).join('; '),
        `see that ${String(caFile)} is the one of the running pool; if it was changed, trivet up writes it anew`,
      );
    }
    return connections.length === 0
      ? 'nothing runs that could be connected to'
      : `TLS verifies: ${connections.map(({ whom }) => whom).join(', ')}`;
  },
  trust: trustRule,
  disk: ({ disk, root }) => {
    if (disk instanceof Unknown) return disk;
    if (typeof disk.syncMs === 'string') {
      return problem(
        `${root} cannot be synced: ${disk.syncMs}`,
        'free some space, or use a disk that takes writes; nothing is acknowledged before it is on the disk',
      );
    }
    const remote = REMOTE_DISKS[disk.type];
    if (remote !== undefined) {
      return problem(
        `${root} is on a disk of another machine (${remote}), whose locks and syncs cannot be relied upon`,
        'choose a --data-dir on a disk of this machine',
      );
    }
    const memory = MEMORY_DISKS[disk.type];
    if (memory !== undefined) {
      return warning(
        `${root} is in memory (${memory}): all keys are gone when this machine stops`,
        'for tests that is well; else choose a --data-dir on a disk',
      );
    }
    const median = medianOf(disk.syncMs);
    return median > SYNC_MS_MAX
      ? warning(
          `the disk takes ${Math.round(median)} ms to sync, and each change of a key waits for it`,
          'use a faster disk, or see what else keeps this one busy',
        )
      : `the disk syncs in ${median.toFixed(1)} ms`;
  },
  space: ({ disk, root }) => {
    if (disk instanceof Unknown) return disk;
    if (disk.freeBytes < FREE_BYTES_MIN) {
      return problem(
        `only ${Math.floor(disk.freeBytes / MIB)} MiB are free for ${root}; a full disk stops changes and the audit log`,
        `free some space: ${FREE_BYTES_MIN / MIB} MiB at least`,
      );
    }
    if (disk.countsFiles && disk.freeFiles < FREE_FILES_MIN) {
      return problem(
        `only ${disk.freeFiles} files can be made on the disk of ${root}`,
        'remove files that nobody needs, or make the file system anew with more inodes',
      );
    }
    return `${Math.floor(disk.freeBytes / MIB)} MiB are free`;
  },
  clock: ({ now, newestFile, bootTimesMs, native }) => {
    if (newestFile !== undefined && newestFile - now > AHEAD_MS) {
      return problem(
        `the clock has gone back: it is ${new Date(now).toISOString()}, and files of the pool are of ${new Date(newestFile).toISOString()}`,
        'set the clock of this machine right, and let something keep it so (systemd-timesyncd, chrony)',
      );
    }
    if (native instanceof Unknown || bootTimesMs.length < 2) {
      return new Unknown('without the addon the time since boot cannot be read');
    }
    const forward = bootTimesMs.every((time, place) => place === 0 || time > (bootTimesMs[place - 1] ?? 0));
    return forward
      ? 'the clock goes forward'
      : problem(
          `the time since boot does not go forward: ${bootTimesMs.join(', ')} ms`,
          'leases rely on it; use a machine whose CLOCK_BOOTTIME works',
        );
  },
  limits: ({ openFilesMax, coreBytesMax, fabric }) => {
    if (openFilesMax instanceof Unknown) return openFilesMax;
    if (coreBytesMax instanceof Unknown) return coreBytesMax;
    const found: Finding[] = [];
    if (openFilesMax !== undefined && openFilesMax < OPEN_FILES_MIN) {
      found.push({
        severity: 'warning',
        what: `${openFilesMax} open files are allowed ${fabric ? 'to the fabric' : 'here'}, and each connection of a client is one`,
        remedy: `start it where more are: ulimit -n ${OPEN_FILES_MIN * 4}, or LimitNOFILE= of its systemd unit`,
      });
    }
    if (coreBytesMax !== 0) {
      found.push({
        severity: 'warning',
        what: 'a partition that crashes would leave a core file, with keys in it',
        remedy: 'start it where none is written: ulimit -c 0, or LimitCORE=0 of its systemd unit',
      });
    }
    if (found.length > 0) return found;
    return `${openFilesMax ?? 'any number of'} open files, and no core files`;
  },
  partitions: ({ partitions, waiting, fabric }) => {
    if (partitions instanceof Unknown) return partitions;
    if (!fabric) return 'nothing runs';
    const found: Finding[] = partitions.flatMap(({ pool, id, role, inSync, paused, unplugged, reason }) => {
      const whom = `partition ${id} of ${pool}`;
      const why = reason === undefined ? '' : `: ${reason}`;
      if (paused) return problem(`${whom} is paused`, `let it go on: trivet partition resume ${id}`);
      if (unplugged) return problem(`${whom} is unplugged`, `plug it in: trivet partition replug ${id}`);
      if (role === 'down') {
        return problem(
          `${whom} is down${why}`,
          'it is started again by itself; if it stays so, look at what the fabric has written about it, or give it ' +
            `a new beginning: trivet partition wipe ${id}`,
        );
      }
      return inSync
        ? []
        : warning(`${whom} is not in sync${why}`, 'wait until it has joined; see trivet status --watch');
    });
    for (const pool of waiting) {
      found.push({
        severity: 'warning',
        what: `pool ${pool} waits for its security domain and does nothing else`,
        remedy: 'activate it: trivet security-domain make-keys, then trivet security-domain download',
      });
    }
    return found.length > 0 ? found : 'all partitions are in sync';
  },
};

/** The checks that there are, in their order. */
export const checks: readonly string[] = Object.keys(rules);

/** Judges the facts, but for the checks that are ignored. */
export function judge(facts: Facts, ignored: readonly string[] = []): Verdict[] {
  return Object.entries(rules)
    .filter(([check]) => !ignored.includes(check))
    .map(([check, rule]) => {
      const judgement = rule(facts);
      if (judgement instanceof Unknown) return { check, findings: [], unchecked: judgement.why };
      return typeof judgement === 'string'
        ? { check, well: judgement, findings: [] }
        : { check, findings: judgement };
    });
}

/** 0: all is well; 1: there are findings; 2: there are none, but something could not be checked. */
export function exitCode(verdicts: readonly Verdict[]): 0 | 1 | 2 {
  if (verdicts.some(({ findings }) => findings.length > 0)) return 1;
  return verdicts.some(({ unchecked }) => unchecked !== undefined) ? 2 : 0;
}

function portRule(port: Maybe<PortFacts> | undefined, runs: boolean): Judgement {
  if (port === undefined) return new Unknown('no port is known');
  if (port instanceof Unknown) return port;
  const { holder, option, ours, refused } = port;
  if (ours) return `port ${port.port} is our own`;
  if (refused !== undefined) {
    return problem(
      `port ${port.port} may not be used by this user: ${refused}`,
      `choose one above 1023 with ${option}`,
    );
  }
  if (holder) {
    return problem(
      `port ${port.port} is taken by ${holder.command} (process ${pidText(holder.pid)})`,
      `end that, or choose another with ${option} (0: any free port)`,
    );
  }
  return runs
    ? problem(
        `nobody listens on port ${port.port}, though a fabric runs`,
        'end the fabric and start it again',
      )
    : `port ${port.port} is free`;
}

function trustRule({ caFile, bundles, connections }: Facts): Judgement {
  if (caFile === undefined) return 'there is no authority to trust yet';
  const found: Finding[] = [];
  const others = bundles.filter(
    ({ variable, holdsOurs }) => variable !== 'NODE_EXTRA_CA_CERTS' && !holdsOurs,
  );
  if (others.length > 0) {
    found.push({
      severity: 'warning',
      what: others
        .map(
          ({ variable, file, problem: why }) =>
            `${variable} is ${file}, ${why ?? 'which does not have the authority of these pools'}`,
        )
        .join('; '),
      remedy: `name a file that has it: ${caFile}, or a copy of the other with this one added at its end`,
    });
  }
  const extra = bundles.find(({ variable }) => variable === 'NODE_EXTRA_CA_CERTS');
  const met = connections instanceof Unknown ? [] : connections;
  // A connection has the last word: Node may be told of authorities in more ways than one.
  const refusal = met.find(({ withDefaults }) => withDefaults !== undefined)?.withDefaults;
  const trusted = met.length > 0 ? refusal === undefined : extra?.holdsOurs === true;
  if (!trusted) {
    const why = refusal === undefined ? '' : ` (${refusal})`;
    found.push({
      severity: 'warning',
      what:
        extra === undefined
          ? `Node.js programs started here do not trust the pools: NODE_EXTRA_CA_CERTS is not set${why}`
          : `Node.js programs started here do not trust the pools: NODE_EXTRA_CA_CERTS is ${extra.file}, ${extra.problem ?? 'which does not have their authority'}${why}`,
      remedy: `export NODE_EXTRA_CA_CERTS=${caFile} (for Python and az: REQUESTS_CA_BUNDLE=${caFile})`,
    });
  }
  return found.length > 0 ? found : `Node.js programs started here trust ${caFile}`;
}

/** Everything is a secret but what is meant for others; a lock holds nothing. */
function isTooOpen({ path, mode }: FileFacts): boolean {
  if ((mode & 0o022) !== 0) return true;
  return (mode & 0o077) !== 0 && !/(^|\/)(ca\.pem|lock|[^/]+\.cer)$/.test(path);
}

function isAtLeast(version: string, wanted: string): boolean {
  const parts = (text: string): number[] => (/\d+(\.\d+)*/.exec(text)?.[0] ?? '0').split('.').map(Number);
  const [have, want] = [parts(version), parts(wanted)];
  for (let place = 0; place < want.length; place += 1) {
    const difference = (have[place] ?? 0) - (want[place] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}

function medianOf(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}

function pidText(pid: number | null): string {
  return pid === null ? 'unknown' : String(pid);
}

function named(items: readonly string[]): string {
  const more = items.length - NAMED_MAX;
  return items.slice(0, NAMED_MAX).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

function listed(items: readonly string[]): string {
  return `${named(items)} ${items.length > 1 ? 'are' : 'is'}`;
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}
