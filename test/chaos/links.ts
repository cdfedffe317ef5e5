// Cuts and slows the links between two members with packet filter rules, without the pool's help. Only for a network
// namespace of its own: the rules are about ports, and nothing else must live among them.
//
// The member with the higher number dials the one with the lower, so the link of two members is every connection of the
// higher one to a port where the lower listens and clients do not. Processes come and go under a cut, so who has which
// port is looked up again and again. New connections to such a port are held up whoever they come from: for the
// milliseconds until the next look a new process would get through otherwise.
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import type { Site } from './site.js';

const TABLE = 'inet chaos';
const LOOK_MS = 40;
/** Of a hundred packets, on a slow link. */
const LOST = 35;
const LISTENS = '0A';

/** `cut`: whatever is sent is lost in silence; `reset`: it is answered by the end of the connection. */
export type Harm = 'cut' | 'reset' | 'slow';

const FATES: Readonly<Record<Harm, string>> = {
  cut: 'drop',
  reset: 'reject with tcp reset',
  slow: `numgen random mod 100 < ${LOST} drop`,
};

interface Socket {
  readonly local: number;
  readonly remote: number;
  readonly listens: boolean;
}

/** TCP sockets of IPv4 that a process holds. */
function socketsOf(pid: number): Socket[] {
  const inodes = new Set<string>();
  try {
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      try {
        inodes.add(/^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? '');
      } catch {
        // closed meanwhile
      }
    }
  } catch {
    return []; // the process is gone
  }
  const port = (address = ''): number => parseInt(address.split(':')[1] ?? '', 16);
  return readFileSync('/proc/net/tcp', 'latin1')
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => inodes.has(fields[9] ?? '-'))
    .map((fields) => ({ local: port(fields[1]), remote: port(fields[2]), listens: fields[3] === LISTENS }));
}

function nft(rules: string): void {
  execFileSync('nft', ['-f', '-'], { input: rules });
}

/** Whether rules can be made here. */
export function canHarmLinks(): boolean {
  try {
    releaseLinks();
    return true;
  } catch {
    return false;
  }
}

/** Undoes what is left of harm. */
export function releaseLinks(): void {
  nft(`table ${TABLE} {}\ndelete table ${TABLE}\n`);
}

/** Harms the link of two members until the function that it gives is called. */
export function harmLink(site: Site, one: number, other: number, harm: Harm): () => void {
  const [lower, higher] = one < other ? [one, other] : [other, one];
  let last = '';
  const look = (): void => {
    const [listener, dialler] = [site.pidOf(lower), site.pidOf(higher)];
    if (listener === undefined) return;
    const forClients = site.address(lower)?.port;
    const ports = socketsOf(listener).flatMap(({ local, listens }) =>
      listens && local !== forClients ? [local] : [],
    );
    if (ports.length === 0) return;
    const pairs = (dialler === undefined ? [] : socketsOf(dialler))
      .filter(({ remote }) => ports.includes(remote))
      .map(({ local, remote }) => ({ local, remote }));
    const rules = rulesFor(ports, pairs, harm);
    if (rules === last) return;
    last = rules;
    nft(`table ${TABLE} {}\ndelete table ${TABLE}\n${rules}`);
  };
  look();
  const timer = setInterval(look, LOOK_MS);
  return () => {
    clearInterval(timer);
    releaseLinks();
  };
}

function rulesFor(
  ports: readonly number[],
  pairs: readonly { readonly local: number; readonly remote: number }[],
  harm: Harm,
): string {
  const fate = FATES[harm];
  const lines = pairs.flatMap(({ local, remote }) => [
    `tcp sport ${local} tcp dport ${remote} ${fate}`,
    `tcp sport ${remote} tcp dport ${local} ${fate}`,
  ]);
  const held =
    harm === 'slow' ? [] : [`tcp dport { ${ports.join(', ')} } tcp flags & (syn | ack) == syn ${fate}`];
  // The very end that is to be seen must get through.
  const pass = harm === 'reset' ? ['tcp flags & rst == rst accept'] : [];
  return `table ${TABLE} {
  chain out {
    type filter hook output priority 0; policy accept;
    ${[...pass, ...held, ...lines].join('\n    ')}
  }
}
`;
}
