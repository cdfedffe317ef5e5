// `trivet principal remove`: takes every role of a principal in every pool, then makes the login forget it. The roles
// are taken over the data plane, with a token of the administrator, as any Administrator of a pool would: the fabric
// itself has no say in a pool.
//
// What a pool refuses is refused before anything is changed (its last Administrator), or stops everything. A pool that
// shows its assignments but cannot take writes now does not save the principal from being forgotten: no new tokens
// from that moment, and the command says what is left and how to finish. Tokens that are out end within the hour;
// without a role they open nothing.
import type { Principal } from '../../fabric/login/principals.js';
import { connect, connectPool, print, problemOf, type Answer, type PoolClient } from '../ask.js';
import { CommandError } from '../failure.js';
import { principalsOf } from './list.js';

const VERSION = 'api-version=7.6';
const ASSIGNMENTS = 'providers/Microsoft.Authorization/roleAssignments';
const ADMINISTRATOR = 'a290e904-7015-4bba-90c8-60543313cdb4';
const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

interface Assignment {
  readonly name: string;
  readonly properties: {
    readonly principalId: string;
    readonly roleDefinitionId: string;
    readonly scope: string;
  };
}

interface Held {
  readonly pool: PoolClient;
  /** The Administrator's first: what cannot be taken stops the rest. */
  readonly assignments: readonly Assignment[];
}

/** `who` is a name, or an id; an object id that the login does not know has its roles taken all the same. */
export async function removePrincipal(
  dataDirectory: string,
  who: string,
  keepAssignments: boolean,
  json: boolean,
): Promise<void> {
  const fabric = await connect(dataDirectory);
  const id = who.toLowerCase();
  const known = (await principalsOf(fabric)).find(
    ({ name, clientId, objectId }) => name === who || objectId === id || clientId === id,
  );
  if (!known && (keepAssignments || !GUID.test(id))) throw new CommandError(`there is no principal "${who}"`);
  if (known?.controlPlane) {
    throw new CommandError(
      `"${known.name}" administers the control plane and cannot be removed; for a new secret: trivet principal reset`,
    );
  }
  const objectId = known?.objectId ?? id;
  const { pools } = await fabric.status();
  const held = keepAssignments
    ? []
    : await Promise.all(pools.map(({ name }) => rolesIn(dataDirectory, name, objectId, known)));
  const { taken, left } = await take(held);
  if (known) await fabric.call('DELETE', `/trivet/principals/${objectId}`);
  if (json) print(JSON.stringify({ objectId, removed: known !== undefined, assignments: taken }));
  else {
    if (known) print(`principal ${known.name} removed; its tokens end within the hour`);
    print(`role assignments deleted: ${taken.length}`);
  }
  if (left.length === 0) return;
  throw new CommandError(
    [
      `some role assignments are left${known ? ', though the login gives no more tokens to this principal' : ''}:`,
      ...left,
      `run this again when the pool takes writes: trivet principal remove ${objectId}`,
    ].join('\n'),
  );
}

async function rolesIn(
  dataDirectory: string,
  name: string,
  objectId: string,
  known: Principal | undefined,
): Promise<Held> {
  const nothing = (why: string) =>
    new CommandError(
      `pool ${name} does not show what roles this principal has, so nothing was removed: ${why}` +
        (known ? '\nto remove it and leave its roles: trivet principal remove --keep-assignments' : ''),
    );
  try {
    const pool = await connectPool(dataDirectory, name);
    const list = async (filter: string): Promise<readonly Assignment[]> => {
      const answer = await pool.ask(
        'GET',
        `/${ASSIGNMENTS}?${VERSION}&$filter=${encodeURIComponent(filter)}`,
      );
      if (answer.status === 200) return (answer.body as { value: readonly Assignment[] }).value;
      throw nothing(problemOf(answer) ?? `it answered ${answer.status}`);
    };
    const own = await list(`principalId eq '${objectId}'`);
    if (own.some(administers) && (await list('atScope()')).filter(administers).length === 1) {
      throw new CommandError(
        `this is the last Administrator of pool ${name}, so nothing was removed; make another one first`,
      );
    }
    const assignments = [...own].sort((a, b) => Number(administers(b)) - Number(administers(a)));
    return { pool, assignments };
  } catch (error) {
    if (error instanceof CommandError && /nothing was removed/.test(error.message)) throw error;
    throw nothing(error instanceof Error ? error.message : String(error));
  }
}

async function take(held: readonly Held[]): Promise<{ taken: string[]; left: string[] }> {
  const taken: string[] = [];
  const left: string[] = [];
  for (const { pool, assignments } of held) {
    for (const { name, properties } of assignments) {
      const scope = properties.scope === '/' ? '' : properties.scope;
      const answer = await pool
        .ask('DELETE', `${scope}/${ASSIGNMENTS}/${name}?${VERSION}`)
        .catch((error: unknown): Answer => {
          if (!(error instanceof CommandError)) throw error;
          return { status: 0, body: { error: { message: error.message } } };
        });
      const why = problemOf(answer) ?? `it answered ${answer.status}`;
      if (answer.status === 200 || answer.status === 404) taken.push(name);
      // The pool knows better: it has become the last one, or we are no Administrator any more.
      else if (answer.status === 409 || answer.status === 403) {
        throw new CommandError(
          `pool ${pool.name} refuses to delete ${name} at ${properties.scope}, so the principal stays: ${why}` +
            (taken.length > 0 ? `\nthese were deleted before: ${taken.join(', ')}` : ''),
        );
      } else left.push(`  pool ${pool.name}: ${name} at ${properties.scope}: ${why}`);
    }
  }
  return { taken, left };
}

function administers({ properties }: Assignment): boolean {
  return properties.scope === '/' && properties.roleDefinitionId.toLowerCase().endsWith(`/${ADMINISTRATOR}`);
}
