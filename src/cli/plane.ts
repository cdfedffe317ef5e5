// The data plane for commands: paths with their api-version, lists of many pages, and refusals with what to do about
// them. Knows no command.
import { TOKEN, member, problemOf, type Answer, type Method, type PoolClient } from './ask.js';
import { CommandError } from './failure.js';

const VERSION = '7.6';
/** The first that tells how long a symmetric key is. */
export const SIZED_VERSION = '2026-01-01-preview';

export interface PoolOptions {
  dataDir: string;
  pool?: string;
  json?: true;
}

/** What is asked of a pool; refusals are thrown, in words of the pool and with advice. */
export class Plane {
  constructor(readonly pool: PoolClient) {}

  async call(method: Method, path: string, body?: unknown, version = VERSION): Promise<unknown> {
    const mark = path.includes('?') ? '&' : '?';
    const answer = await this.pool.ask(method, `${path}${mark}api-version=${version}`, body);
    if (answer.status < 300) return answer.body;
    throw new CommandError(
      [problemOf(answer) ?? `pool ${this.pool.name} answered ${answer.status}`, adviceFor(answer, path)]
        .filter((line) => line !== undefined)
        .join('\n'),
    );
  }

  /** All items of a list, however many pages it has. */
  async list(path: string): Promise<unknown[]> {
    const items: unknown[] = [];
    let page = await this.call('GET', path);
    for (;;) {
      items.push(...valueOf(page));
      const next = member(page, 'nextLink');
      if (next === undefined) return items;
      const { pathname, search } = new URL(next);
      page = await this.call('GET', `${pathname}${search}`);
    }
  }
}

/** A member that a list or an operation must have. */
function valueOf(page: unknown): readonly unknown[] {
  const value = typeof page === 'object' && page !== null && 'value' in page ? page.value : undefined;
  if (!Array.isArray(value)) throw new CommandError('the pool answered with something that is no list');
  return value as readonly unknown[];
}

/** `/keys/{name}`, or a version of it. */
export function keyPath(name: string, version?: string): string {
  if (!/^[0-9a-zA-Z-]{1,127}$/.test(name)) {
    throw new CommandError(`"${name}" is no name of a key: 1 to 127 letters, digits and hyphens`);
  }
  if (version !== undefined && !/^[0-9a-f]{32}$/.test(version)) {
    throw new CommandError(
      `"${version}" is no version of a key: 32 hex digits, as trivet key versions shows them`,
    );
  }
  return `/keys/${name}${version === undefined ? '' : `/${version}`}`;
}

function adviceFor({ status, body }: Answer, path: string): string | undefined {
  const error = typeof body === 'object' && body !== null && 'error' in body ? body.error : undefined;
  const code = member(error, 'code') ?? '';
  const inner =
    typeof error === 'object' && error !== null && 'innererror' in error
      ? member(error.innererror, 'code')
      : undefined;
  const key = /^\/(?:deleted)?keys\/([^/?]+)/.exec(path)?.[1] ?? 'NAME';
  if (inner === 'ObjectIsDeletedButRecoverable') {
    return `To have it back: trivet key recover ${key}. To free its name for good: trivet key purge ${key}.`;
  }
  if (/\brotat/.test(path) && /rotation ?policy/.test(member(error, 'message') ?? '')) {
    return `To give it one: trivet key policy set ${key} --rotate-after P90D. A new version by hand: trivet key create ${key}.`;
  }
  if (code === 'KeyNotFound') return 'To see which there are: trivet key list, or trivet key list --deleted.';
  if (status === 401) {
    return `The access token is not believed or has ended; unset ${TOKEN} to ask as the administrator.`;
  }
  if (status === 403) {
    return (
      'Who asks has no role for this. An Administrator may give one: trivet role assignment create ' +
      '--principal WHO --role ROLE --scope /keys (trivet role definition list shows which there are).'
    );
  }
  if (status === 503) return 'To see how the partitions are: trivet status.';
  return undefined;
}
