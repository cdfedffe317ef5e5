// `trivet key policy`: when a key is rotated by itself.
import { readBytes, show } from '../security-domain/files.js';
import { CommandError } from '../failure.js';
import { keyPath, type PoolOptions } from '../plane.js';
import { openPlane, timeText } from './manage.js';

export interface PolicyOptions extends PoolOptions {
  rotateAfter?: string;
  rotateBeforeExpiry?: string;
  expiry?: string;
  file?: string;
}

interface Policy {
  readonly lifetimeActions?: readonly {
    readonly action: { readonly type: string };
    readonly trigger: { readonly timeAfterCreate?: string; readonly timeBeforeExpiry?: string };
  }[];
  readonly attributes?: { readonly expiryTime?: string; readonly updated?: number };
}

export async function showPolicy(name: string, options: PoolOptions): Promise<void> {
  const path = `${keyPath(name)}/rotationpolicy`;
  tell(name, (await (await openPlane(options)).call('GET', path)) as Policy, options);
}

export async function setPolicy(name: string, options: PolicyOptions): Promise<void> {
  const path = `${keyPath(name)}/rotationpolicy`;
  const body = bodyOf(options);
  tell(name, (await (await openPlane(options)).call('PUT', path, body)) as Policy, options);
}

export async function clearPolicy(name: string, options: PoolOptions): Promise<void> {
  const path = `${keyPath(name)}/rotationpolicy`;
  tell(name, (await (await openPlane(options)).call('PUT', path, {})) as Policy, options);
}

function bodyOf({ rotateAfter, rotateBeforeExpiry, expiry, file }: PolicyOptions): unknown {
  const parts = [rotateAfter, rotateBeforeExpiry, expiry];
  if (file !== undefined) {
    if (parts.some((part) => part !== undefined))
      throw new CommandError('--file holds all of it: leave out the rest');
    try {
      return JSON.parse(readBytes(file).toString('utf8'));
    } catch (cause) {
      throw new CommandError(`${file} holds no JSON`, { cause });
    }
  }
  if (parts.every((part) => part === undefined)) {
    throw new CommandError('say when: --rotate-after P90D, or --rotate-before-expiry P30D with --expiry P1Y');
  }
  const trigger =
    rotateAfter === undefined ? { timeBeforeExpiry: rotateBeforeExpiry } : { timeAfterCreate: rotateAfter };
  return {
    lifetimeActions:
      rotateAfter === undefined && rotateBeforeExpiry === undefined
        ? []
        : [{ action: { type: 'Rotate' }, trigger }],
    attributes: { ...(expiry !== undefined && { expiryTime: expiry }) },
  };
}

function tell(name: string, policy: Policy, options: PoolOptions): void {
  const { lifetimeActions = [], attributes = {} } = policy;
  const lines = lifetimeActions.map(({ action, trigger }) => {
    const when =
      trigger.timeAfterCreate === undefined
        ? `${trigger.timeBeforeExpiry ?? ''} before it expires`
        : `${trigger.timeAfterCreate} after it was created`;
    return `${action.type.toLowerCase()} key ${name} ${when}`;
  });
  if (attributes.expiryTime !== undefined)
    lines.push(`a new version expires ${attributes.expiryTime} after its creation`);
  if (lines.length === 0) lines.push(`key ${name} has no rotation policy`);
  else if (attributes.updated !== undefined) lines.push(`since ${timeText(attributes.updated)}`);
  show(options, policy, lines);
}
