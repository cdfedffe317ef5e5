// `trivet role definition`: the roles of a pool, built in and made.
import { newUuid } from '../../values/ids.js';
import { print } from '../ask.js';
import { CommandError } from '../failure.js';
import { harmless, openPlane } from '../key/manage.js';
import type { Plane, PoolOptions } from '../plane.js';
import { show } from '../security-domain/files.js';

export interface DefinitionOptions extends PoolOptions {
  action: readonly string[];
  notAction: readonly string[];
  description?: string;
  id?: string;
}

export interface Definition {
  readonly name: string;
  readonly properties: {
    readonly roleName: string;
    readonly description: string;
    readonly type: string;
    readonly permissions: readonly {
      readonly dataActions: readonly string[];
      readonly notDataActions: readonly string[];
    }[];
  };
}

const PREFIX = 'Microsoft.KeyVault/managedHsm/';
const PATH = '/providers/Microsoft.Authorization/roleDefinitions';
const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export async function listDefinitions(options: PoolOptions): Promise<void> {
  const all = await definitionsOf(await openPlane(options));
  if (options.json) {
    print(JSON.stringify(all));
    return;
  }
  const width = Math.max(...all.map(({ properties }) => properties.roleName.length));
  for (const { name, properties } of all) {
    const own = properties.type === 'CustomRole' ? '  made here' : '';
    print(`${harmless(properties.roleName).padEnd(width)}  ${name}${own}`);
  }
}

export async function showDefinition(role: string, options: PoolOptions): Promise<void> {
  tell(await definitionNamed(await openPlane(options), role), options);
}

export async function createDefinition(name: string, options: DefinitionOptions): Promise<void> {
  const plane = await openPlane(options);
  const id = options.id ?? newUuid();
  const made = await plane.call('PUT', `${PATH}/${id}`, {
    properties: {
      roleName: name,
      description: options.description ?? '',
      type: 'CustomRole',
      permissions: [
        { dataActions: options.action.map(whole), notDataActions: options.notAction.map(whole), actions: [] },
      ],
      assignableScopes: ['/'],
    },
  });
  tell(made as Definition, options);
}

export async function deleteDefinition(role: string, options: PoolOptions): Promise<void> {
  const plane = await openPlane(options);
  const { name, properties } = await definitionNamed(plane, role);
  if (properties.type !== 'CustomRole') {
    throw new CommandError(`"${properties.roleName}" is built in and cannot be deleted`);
  }
  await plane.call('DELETE', `${PATH}/${name}`);
  show(options, { deleted: name }, [`role ${harmless(properties.roleName)} (${name}) deleted`]);
}

export async function definitionsOf(plane: Plane): Promise<readonly Definition[]> {
  return (await plane.list(PATH)) as Definition[];
}

/** By its name, whatever the case, or by its id. */
export async function definitionNamed(plane: Plane, role: string): Promise<Definition> {
  const all = await definitionsOf(plane);
  const wanted = role.toLowerCase();
  const found = all.filter(
    ({ name, properties }) => name === wanted || properties.roleName.toLowerCase() === wanted,
  );
  const [only, second] = found;
  if (only && !second) return only;
  if (second) {
    throw new CommandError(
      `several roles are called "${role}"; name one by its id: ${found.map(({ name }) => name).join(', ')}`,
    );
  }
  if (GUID.test(role))
    throw new CommandError(`there is no role ${role}; to see them: trivet role definition list`);
  const names = all.map(({ properties }) => properties.roleName);
  throw new CommandError(`there is no role "${role}"; there are: ${names.map(harmless).join(', ')}`);
}

function whole(action: string): string {
  return action.toLowerCase().startsWith(PREFIX.toLowerCase()) ? action : `${PREFIX}${action}`;
}

function tell(definition: Definition, options: PoolOptions): void {
  const { name, properties } = definition;
  const { roleName, description, type, permissions } = properties;
  const short = (action: string): string =>
    action.toLowerCase().startsWith(PREFIX.toLowerCase()) ? action.slice(PREFIX.length) : action;
  show(options, definition, [
    `role  ${harmless(roleName)}${type === 'CustomRole' ? ', made here' : ', built in'}`,
    `id    ${name}`,
    ...(description === '' ? [] : [`      ${harmless(description)}`]),
    ...permissions.flatMap(({ dataActions, notDataActions }) => [
      ...dataActions.map((action) => `may   ${harmless(short(action))}`),
      ...notDataActions.map((action) => `not   ${harmless(short(action))}`),
    ]),
  ]);
}
