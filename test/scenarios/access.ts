// Who may do what on a real pool: principals by the dozen with tokens as the pool's own login makes them, each
// instance asked by itself, and roles given and taken over REST.
import { createPrivateKey, randomUUID, sign, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { at, type Answer, type Client, type TestPool } from './pool.js';
import { base64url } from './witness.js';

export const AUTHORIZATION = '/providers/Microsoft.Authorization';
export const DEFINITIONS = `${AUTHORIZATION}/roleDefinitions`;
export const ASSIGNMENTS = `${AUTHORIZATION}/roleAssignments`;
export const PREFIX = 'Microsoft.KeyVault/managedHsm/';

interface Table {
  readonly dataActions: readonly string[];
  readonly roles: readonly {
    readonly name: string;
    readonly roleName: string;
    readonly dataActions: readonly string[];
  }[];
}

/** The built-in roles, from a source that is not the program. */
export const table = JSON.parse(readFileSync(join(__dirname, 'roles.json'), 'utf8')) as Table;

/** GUID of a built-in role. */
export function roleNamed(roleName: string): string {
  const role = table.roles.find((one) => one.roleName === `Managed HSM ${roleName}`);
  if (!role) throw new Error(`no role ${roleName}`);
  return role.name;
}

/** Id of a role definition, as the service writes it. */
export function definitionId(guid: string): string {
  return `Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/${guid}`;
}

/** What stands in paths before `/providers`. */
export function prefixOf(scope: string): string {
  return scope === '/' ? '' : scope;
}

/** Fails unless it is the service's refusal of a data action at a scope, to the letter. */
export function expectDenied(answer: Answer, action: string, scope: string, who: unknown = ''): void {
  const id = String(answer.headers['x-ms-request-id']);
  const message = `Not authorized to access ${PREFIX}${action} on ${scope} (Activity ID: ${id})`;
  expect([who, answer.status, answer.body]).toEqual([who, 403, { error: { code: 'AccessDenied', message } }]);
}

/** Somebody with a token. */
export interface Person {
  readonly objectId: string;
  readonly token: string;
}

/** A pool whose administrator hands out roles; requests go to the instance that the test names. */
export class Access {
  private constructor(
    readonly pool: TestPool,
    /** The administrator's, one for each instance. */
    readonly clients: readonly Client[],
    private readonly loginKey: KeyObject,
    private readonly sample: readonly [header: unknown, claims: unknown],
  ) {}

  static async of(pool: TestPool): Promise<Access> {
    const clients = await pool.clientOfEach();
    const loginKey = createPrivateKey(readFileSync(join(pool.directory, 'fabric/login-key.pem')));
    const [header, claims] = (await pool.token())
      .split('.')
      .slice(0, 2)
      .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()) as unknown);
    return new Access(pool, clients, loginKey, [header, claims]);
  }

  close(): void {
    for (const client of this.clients) client.close();
  }

  /** Somebody whom the login would let in, and who holds no role yet. */
  person(groups: readonly string[] = []): Person {
    const [header, claims] = this.sample;
    const objectId = randomUUID();
    const more = groups.length === 0 ? {} : { groups };
    const parts = [header, { ...(claims as object), oid: objectId, sub: objectId, ...more }];
    const text = parts.map((part) => base64url(Buffer.from(JSON.stringify(part)))).join('.');
    const signature = sign('sha256', Buffer.from(text), { key: this.loginKey, dsaEncoding: 'ieee-p1363' });
    return { objectId, token: `${text}.${base64url(signature)}` };
  }

  /** The administrator's client of an instance; numbers go round. */
  client(instance: number): Client {
    const client = this.clients[instance % this.clients.length];
    if (!client) throw new Error('no instance');
    return client;
  }

  /** Asks one instance; as the administrator unless somebody is named. */
  ask(instance: number, method: string, path: string, body?: unknown, who?: Person): Promise<Answer> {
    const headers = who ? { Authorization: `Bearer ${who.token}` } : {};
    return this.client(instance).call(method, path, body, headers);
  }

  /** The same, which must succeed. */
  async must(instance: number, method: string, path: string, body?: unknown): Promise<unknown> {
    const answer = await this.ask(instance, method, path, body);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
    return answer.body;
  }

  /** Assigns a role by its GUID; gives the path of the assignment. */
  async assign(instance: number, scope: string, role: string, principalId: string): Promise<string> {
    const path = `${prefixOf(scope)}${ASSIGNMENTS}/${randomUUID()}`;
    await this.must(instance, 'PUT', path, assignment(role, principalId));
    return path;
  }

  /** Makes a custom role, or makes it anew; gives its GUID. */
  async define(
    instance: number,
    dataActions: readonly string[],
    name: string = randomUUID(),
  ): Promise<string> {
    const properties = { permissions: [{ dataActions: dataActions.map((action) => PREFIX + action) }] };
    await this.must(instance, 'PUT', `${DEFINITIONS}/${name}`, { properties });
    return name;
  }

  /** Every assignment there is at these scopes, as an instance shows them. */
  async assignments(instance: number, scopes: readonly string[]): Promise<unknown[]> {
    const all = new Map<unknown, unknown>();
    for (const scope of scopes) {
      const list = at(await this.must(instance, 'GET', `${prefixOf(scope)}${ASSIGNMENTS}`), 'value');
      for (const one of list as unknown[]) all.set(at(one, 'name'), one);
    }
    return [...all.values()];
  }
}

/** The body that assigns a role. */
export function assignment(role: string, principalId: string): object {
  return { properties: { roleDefinitionId: definitionId(role), principalId } };
}
