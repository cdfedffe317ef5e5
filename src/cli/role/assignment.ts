// `trivet role assignment`: who has which role, and where. People name principals and roles; the pool knows ids, and the
// login of this installation knows which principal is called what.
import type { Principal } from '../../fabric/login/principals.js';
import { newUuid } from '../../values/ids.js';
import { connect, print } from '../ask.js';
import { CommandError } from '../failure.js';
import { harmless, openPlane } from '../key/manage.js';
import { keyPath, type Plane, type PoolOptions } from '../plane.js';
import { principalsOf } from '../principal/list.js';
import { show } from '../security-domain/files.js';
import { definitionNamed, definitionsOf } from './definition.js';

export interface ListOptions extends PoolOptions {
  scope: string;
  principal?: string;
}

export interface AssignOptions extends PoolOptions {
  principal: string;
  role: string;
  scope: string;
}

export interface FindOptions extends PoolOptions {
  principal?: string;
  role?: string;
  scope?: string;
}

interface Assignment {
  readonly name: string;
  readonly properties: {
    readonly principalId: string;
    readonly roleDefinitionId: string;
    readonly scope: string;
  };
}

const PATH = 'providers/Microsoft.Authorization/roleAssignments';
const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export async function listAssignments(options: ListOptions): Promise<void> {
  const plane = await openPlane(options);
  const principals = await known(options);
  const found =
    options.principal === undefined
      ? await assignmentsAt(plane, options.scope)
      : await assignmentsOf(plane, objectIdOf(principals, options.principal));
  if (options.json) {
    print(JSON.stringify(found));
    return;
  }
  if (found.length === 0) process.stderr.write('none\n');
  const roles = new Map(
    (await definitionsOf(plane)).map(({ name, properties }) => [name, harmless(properties.roleName)]),
  );
  const rows = found.map(({ name, properties: { principalId, roleDefinitionId, scope } }) => [
    principals.find(({ objectId }) => objectId === principalId)?.name ?? principalId,
    roles.get(idOf(roleDefinitionId)) ?? idOf(roleDefinitionId),
    scope,
    name,
  ]);
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  for (const row of rows) {
    print(row.map((word, column) => word.padEnd(widths[column] ?? 0)).join('  '));
  }
}

export async function createAssignment(options: AssignOptions): Promise<void> {
  const { principal, role, scope } = options;
  const at = pathOf(scope);
  const plane = await openPlane(options);
  const principalId = objectIdOf(await known(options), principal);
  const definition = await definitionNamed(plane, role);
  const made = (await plane.call('PUT', `${at}/${PATH}/${newUuid()}`, {
    properties: {
      principalId,
      roleDefinitionId: `Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/${definition.name}`,
    },
  })) as Assignment;
  show(options, made, [
    `${principal} has the role ${harmless(definition.properties.roleName)} at ${scope} (assignment ${made.name})`,
  ]);
}

export async function deleteAssignment(id: string | undefined, options: FindOptions): Promise<void> {
  const plane = await openPlane(options);
  const { name, properties } =
    id === undefined ? await wanted(plane, options) : await withId(plane, id.toLowerCase(), options);
  await plane.call('DELETE', `${pathOf(properties.scope)}/${PATH}/${name}`);
  show(options, { deleted: name }, [
    `assignment ${name} at ${properties.scope} deleted; it is refused everywhere from now on`,
  ]);
}

async function withId(
  plane: Plane,
  id: string,
  { principal, role, scope = '/keys' }: FindOptions,
): Promise<Assignment> {
  if (principal !== undefined || role !== undefined) {
    throw new CommandError('an assignment is named by its id, or by --principal, --role and --scope');
  }
  const found = (await assignmentsAt(plane, scope)).find(({ name }) => name === id);
  if (found) return found;
  throw new CommandError(
    `there is no assignment ${id} at ${scope}; to see them: trivet role assignment list --principal WHO`,
  );
}

async function wanted(plane: Plane, options: FindOptions): Promise<Assignment> {
  const { principal, role, scope } = options;
  if (principal === undefined || role === undefined || scope === undefined) {
    throw new CommandError('say which: by its id, or by --principal, --role and --scope');
  }
  pathOf(scope);
  const definition = await definitionNamed(plane, role);
  const all = await assignmentsOf(plane, objectIdOf(await known(options), principal));
  const found = all.find(
    ({ properties }) => properties.scope === scope && idOf(properties.roleDefinitionId) === definition.name,
  );
  if (found) return found;
  throw new CommandError(
    `${principal} does not have the role "${role}" at ${scope}; to see what it has: trivet role assignment list ` +
      `--principal ${principal}`,
  );
}

async function assignmentsAt(plane: Plane, scope: string): Promise<readonly Assignment[]> {
  return (await plane.list(`${pathOf(scope)}/${PATH}`)) as Assignment[];
}

async function assignmentsOf(plane: Plane, objectId: string): Promise<readonly Assignment[]> {
  const filter = encodeURIComponent(`principalId eq '${objectId}'`);
  return (await plane.list(`/${PATH}?$filter=${filter}`)) as Assignment[];
}

/** What stands before `/providers` in a path. */
function pathOf(scope: string): string {
  if (scope === '/') return '';
  if (scope === '/keys') return scope;
  const [, name] = /^\/keys\/([^/]+)$/.exec(scope) ?? [];
  if (name === undefined) throw new CommandError(`"${scope}" is no scope: they are /, /keys and /keys/NAME`);
  return keyPath(name);
}

async function known({ dataDir }: PoolOptions): Promise<readonly Principal[]> {
  return principalsOf(await connect(dataDir));
}

function objectIdOf(principals: readonly Principal[], who: string): string {
  const id = who.toLowerCase();
  const found = principals.find(
    ({ name, clientId, objectId }) => name === who || clientId === id || objectId === id,
  );
  if (found) return found.objectId;
  if (GUID.test(id)) return id; // of another issuer
  throw new CommandError(
    `there is no principal "${who}"; there are ${principals.map(({ name }) => name).join(', ')}, and others are named by ` +
      'their object id',
  );
}

function idOf(roleDefinitionId: string): string {
  return roleDefinitionId.slice(roleDefinitionId.lastIndexOf('/') + 1).toLowerCase();
}
