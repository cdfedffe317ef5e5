// Every operation × every built-in role × every scope on a real pool, from a table that is not the program's: who holds
// the role where it reaches gets the answer, whoever else gets the service's refusal to the letter, from every
// instance, and changes nothing.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { routes } from '../../src/instance/api/routes.js';
import { AttestationService } from '../instance/hsm/attestation-service.js';
import { Access, DEFINITIONS, expectDenied, PREFIX, prefixOf, table, type Person } from './access.js';
import { KEY, operations, OTHER, Stage, type Operation } from './operations.js';
import { at, TestPool } from './pool.js';

const HELD = ['/', '/keys', KEY, OTHER] as const;

/** Where a role held at one scope reaches. */
const REACH: Readonly<Record<(typeof HELD)[number], readonly string[]>> = {
  '/': ['/', '/keys', KEY, OTHER],
  '/keys': ['/keys', KEY, OTHER],
  [KEY]: [KEY],
  [OTHER]: [OTHER],
};

interface Holder extends Person {
  readonly role: string;
  readonly at: (typeof HELD)[number];
  readonly actions: ReadonlySet<string>;
}

let pool: TestPool;
let service: AttestationService;
let directory: string;
let access: Access;
let stage: Stage;
const holders: Holder[] = [];

beforeAll(async () => {
  service = await AttestationService.start();
  directory = mkdtempSync(join(tmpdir(), 'trivet-roles-'));
  const ca = join(directory, 'ca.pem');
  writeFileSync(ca, service.ca);
  pool = await TestPool.start(undefined, ['--attestor', `${service.issuer},${ca}`]);
  access = await Access.of(pool);
  stage = await Stage.set(access, service);
  for (const { name, roleName, dataActions } of table.roles) {
    for (const scope of HELD) {
      const person = access.person();
      await access.assign(holders.length, scope, name, person.objectId);
      const actions = new Set(dataActions.map((action) => action.slice(PREFIX.length)));
      holders.push({ ...person, role: roleName, at: scope, actions });
    }
  }
}, 120_000);
afterAll(async () => {
  access.close();
  await pool.remove();
  await service.stop();
  rmSync(directory, { recursive: true });
});

const offered = new Set(routes.map(({ method, path }) => `${method} ${path}`));

/** Data actions of the service that no operation of this table asks for. */
const UNREACHABLE = ['keys/derive/action', 'keys/export/action'];

test('no operation exists without a data action: each route is one of the table, with its action and scope', () => {
  const known = new Map(operations.map((operation) => [operation.route, operation]));
  expect(known.size).toBe(operations.length);
  expect([...offered].filter((route) => !known.has(route))).toEqual([]);
  for (const { method, path, action, scope } of routes) {
    const route = `${method} ${path}`;
    const row = known.get(route);
    expect([route, action, scope === 'key' ? KEY : scope]).toEqual([route, row?.action, row?.scope]);
  }
  const actions = new Set(operations.map(({ action }) => PREFIX + action));
  expect([...actions].filter((action) => !table.dataActions.includes(action))).toEqual([]);
  const without = table.dataActions.filter((action) => !actions.has(action));
  expect(without.map((action) => action.slice(PREFIX.length)).sort()).toEqual(UNREACHABLE);
});

test('the built-in roles are the nine of the table, action by action, at every scope of every instance', async () => {
  expect(table.roles).toHaveLength(9);
  const wanted = table.roles.map(({ name, roleName, dataActions }) => [
    name,
    roleName,
    [...dataActions].sort(),
  ]);
  for (const instance of [0, 1, 2]) {
    for (const scope of HELD) {
      const list = at(
        await access.must(instance, 'GET', prefixOf(scope) + DEFINITIONS),
        'value',
      ) as unknown[];
      const seen = list.map((one) => [
        at(one, 'name'),
        at(one, 'properties', 'roleName'),
        [...(at(one, 'properties', 'permissions', 0, 'dataActions') as string[])].sort(),
      ]);
      const byName = (a: unknown[], b: unknown[]) => String(a[0]).localeCompare(String(b[0]));
      expect(seen.sort(byName)).toEqual([...wanted].sort(byName));
    }
  }
});

async function check(operation: Operation): Promise<void> {
  const { route, action, scope, done, request, spellings, before, after } = operation;
  const [method = ''] = route.split(' ');
  const may = (holder: Holder) => holder.actions.has(action) && REACH[holder.at].includes(scope);

  const stranger = { ...access.person(), role: 'nobody', at: '/', actions: new Set<string>() } as const;
  const picture = await stage.picture(1);
  const { path, body } = request(stage);
  const paths = [path, ...(spellings?.(path) ?? [])];
  const refused = [...holders.filter((holder) => !may(holder)), stranger];
  await Promise.all(
    [0, 1, 2].map(async (instance) => {
      for (const holder of refused) {
        const spelled = paths[instance % paths.length] ?? path;
        const answer = await access.ask(instance, method, spelled, body, holder);
        expectDenied(answer, action, scope, [spelled, holder.role, holder.at]);
      }
    }),
  );
  expect(await stage.picture(2)).toEqual(picture);

  const allowed = holders.filter(may);
  expect(allowed.length).toBeGreaterThan(0);
  for (const [place, holder] of allowed.entries()) {
    await before?.(stage);
    const wish = request(stage);
    const answer = await access.ask(place, method, wish.path, wish.body, holder);
    const who = `${holder.role} at ${holder.at}`;
    if (done === undefined)
      expect([who, at(answer.body, 'error', 'code')]).not.toEqual([who, 'AccessDenied']);
    else if (answer.status !== done) throw new Error(`${who}: ${answer.status} ${answer.text}`);
    await after?.(stage);
  }
}

const titled = operations
  .filter(({ route }) => offered.has(route))
  .map(
    (operation) => [`${operation.route} needs ${operation.action} at ${operation.scope}`, operation] as const,
  );

describe('who holds the role may, and nobody else', () => {
  test.each(titled.filter(([, { deleted }]) => !deleted))('%s', (_, operation) => check(operation));

  describe('with the key deleted', () => {
    beforeAll(() => access.must(0, 'DELETE', KEY));
    test.each(titled.filter(([, { deleted }]) => deleted))('%s', (_, operation) => check(operation));
  });
});
