// The resource manager: subscriptions, resource groups and managed HSMs, at the paths of Azure's. A caller is known
// first, then the api-version is looked at, then whether she may; whether a thing exists is told to none but those who
// may ask. Paths are the same in any case.
import express from 'express';
import type { Request, Response, Router } from 'express';
import { newUuid } from '../../../values/ids.js';
import type { Hsm } from '../../resources/state.js';
import {
  deletedNamed,
  groupId,
  groupNamed,
  hsmId,
  hsmNamed,
  isLiving,
  sameName,
} from '../../resources/state.js';
import { connectionNamed } from '../../resources/judge-access.js';
import { nameProblem, noDeleted, noGroup, noHsm } from '../../resources/judge-hsm.js';
import { ArmRefusal } from '../../resources/refusal.js';
import { ControlRefusal } from '../errors.js';
import { accessRoutes } from './access.js';
import { connectionIn, groupIn, hsmIn, nameIn } from './bodies.js';
import { setKeysTarget } from './keys-mount.js';
import { sendAccepted, operationRoutes } from './operations.js';
import { callerIn, checkVersion, may, named, permit, permitList, sendPage } from './parts.js';
import type { ArmParts } from './parts.js';
import {
  briefShape,
  connectionShape,
  deletedId,
  deletedShape,
  groupShape,
  hsmShape,
  linkResourceShape,
  operationShapes,
  regionShape,
  subscriptionShape,
} from './shapes.js';

const SUBSCRIPTION = '/subscriptions/:subscription';
const GROUP = `${SUBSCRIPTION}/resourceGroups/:group`;
const HSMS = 'providers/Microsoft.KeyVault/managedHSMs';
const HSM = `${GROUP}/${HSMS}/:name`;
const KEY_VAULT = 'Microsoft.KeyVault';
const HSM_ACTION = `${KEY_VAULT}/managedHSMs`;
const GROUP_ACTION = 'Microsoft.Resources/subscriptions/resourceGroups';

export function armRoutes(parts: ArmParts): Router {
  const routes = express.Router();
  routes.use(['/subscriptions', '/providers'], async (request, response, next) => {
    response.locals['caller'] = await parts.authenticate(request, response);
    response.set({
      'Cache-Control': 'no-cache',
      Pragma: 'no-cache',
      Expires: '-1',
      'x-ms-request-id': newUuid(),
    });
    // Below a mount point Express shows the rest of the path only.
    checkVersion(`${request.baseUrl}${request.path}`, request.query['api-version']);
    next();
  });
  routes.use(['/subscriptions', '/providers'], express.json({ limit: '256kb' }));
  routes.use(SUBSCRIPTION, (request, _response, next) => {
    const wanted = named(request, 'subscription');
    if (sameName(wanted, parts.provider.state.subscription.id)) {
      next();
      return;
    }
    throw new ControlRefusal(
      'SubscriptionNotFound',
      `The subscription '${wanted.slice(0, 100)}' could not be found.`,
    );
  });
  subscriptionRoutes(parts, routes);
  groupRoutes(parts, routes);
  hsmRoutes(parts, routes);
  deletedRoutes(parts, routes);
  connectionRoutes(parts, routes);
  routes.use(accessRoutes(parts));
  routes.use(operationRoutes(parts, (hsm) => shapeOf(parts, hsm)));
  return routes;
}

function subscriptionRoutes(parts: ArmParts, routes: Router): void {
  const { provider, tenantId } = parts;
  const whole = (): string => `/subscriptions/${provider.state.subscription.id}`;
  routes.get('/subscriptions', (_request, response) => {
    const { state } = provider;
    const { objectId } = callerIn(response);
    // Whoever has a role anywhere in it sees it.
    const mine = state.assignments.some(({ principalId }) => principalId === objectId);
    response.json({ value: mine ? [subscriptionShape(state, tenantId)] : [] });
  });
  routes.get(SUBSCRIPTION, (_request, response) => {
    permitList(provider.state, callerIn(response), 'Microsoft.Resources/subscriptions/read', whole());
    response.json(subscriptionShape(provider.state, tenantId));
  });
  routes.get(`${SUBSCRIPTION}/resources`, (request, response) => {
    const { state } = provider;
    const caller = callerIn(response);
    const type = resourceTypeIn(request);
    const shown = state.hsms.filter(
      (hsm) =>
        isLiving(hsm) &&
        (type === undefined || sameName(type, HSM_ACTION)) &&
        may(state, caller, `${HSM_ACTION}/read`, hsmId(state, hsm)),
    );
    sendPage(
      parts,
      request,
      response,
      shown,
      (hsm) => hsmId(state, hsm),
      (hsm) => briefShape(state, hsm),
    );
  });
  routes.get(`/providers/${KEY_VAULT}/operations`, (_request, response) => {
    response.json({ value: operationShapes() });
  });
  routes.get(`${SUBSCRIPTION}/providers/${KEY_VAULT}`, (_request, response) => {
    response.json({
      id: `${whole()}/providers/${KEY_VAULT}`,
      namespace: KEY_VAULT,
      registrationPolicy: 'RegistrationRequired',
      registrationState: 'Registered',
      resourceTypes: ['managedHSMs', 'deletedManagedHSMs', 'checkMhsmNameAvailability'].map(
        (resourceType) => ({
          resourceType,
          locations: [],
        }),
      ),
    });
  });
}

function resourceTypeIn(request: Request): string | undefined {
  const filter = request.query['$filter'];
  if (filter === undefined) return undefined;
  const [, type] =
    (typeof filter === 'string' && /^\s*resourceType\s+eq\s+'([^']*)'\s*$/i.exec(filter)) || [];
  if (type !== undefined) return type;
  throw new ControlRefusal(
    'InvalidFilterInQueryString',
    "Invalid $filter in the query string: what is understood is resourceType eq '...'.",
  );
}

function groupRoutes(parts: ArmParts, routes: Router): void {
  const { provider } = parts;
  const idOf = (request: Request): string => groupId(provider.state, named(request, 'group'));
  routes.get(`${SUBSCRIPTION}/resourceGroups`, (request, response) => {
    const { state } = provider;
    const caller = callerIn(response);
    permitList(state, caller, `${GROUP_ACTION}/read`, `/subscriptions/${state.subscription.id}`);
    const shown = state.groups.filter(({ name }) =>
      may(state, caller, `${GROUP_ACTION}/read`, groupId(state, name)),
    );
    sendPage(
      parts,
      request,
      response,
      shown,
      ({ name }) => name,
      (group) => groupShape(state, group),
    );
  });
  routes.head(GROUP, (request, response) => {
    permit(provider.state, callerIn(response), `${GROUP_ACTION}/read`, idOf(request));
    const found = groupNamed(provider.state, named(request, 'group'));
    response.status(found ? 204 : 404).end();
  });
  routes.get(GROUP, (request, response) => {
    permit(provider.state, callerIn(response), `${GROUP_ACTION}/read`, idOf(request));
    response.json(groupShape(provider.state, groupAt(parts, request)));
  });
  const put = (replace: boolean) => async (request: Request, response: Response) => {
    permit(provider.state, callerIn(response), `${GROUP_ACTION}/write`, idOf(request));
    const name = named(request, 'group');
    const present = groupNamed(provider.state, name);
    if (!replace && !present) throw noGroup(name);
    const { location, tags } = groupIn(request.body);
    const state = await provider.act({
      kind: 'PutGroup',
      by: callerIn(response).objectId,
      name,
      location: location ?? (replace ? undefined : present?.location),
      tags: tags ?? (replace ? {} : (present?.tags ?? {})),
    });
    const made = groupNamed(state, name);
    response.status(present ? 200 : 201).json(made && groupShape(state, made));
  };
  routes.put(GROUP, put(true));
  routes.patch(GROUP, put(false));
  routes.delete(GROUP, async (request, response) => {
    permit(provider.state, callerIn(response), `${GROUP_ACTION}/delete`, idOf(request));
    const name = named(request, 'group');
    const operation = newUuid();
    const before = groupNamed(provider.state, name)?.deleting;
    await provider.act({ kind: 'DeleteGroup', by: callerIn(response).objectId, name, operation });
    sendAccepted(parts, request, response, before ?? operation);
  });
}

function groupAt({ provider }: ArmParts, request: Request): NonNullable<ReturnType<typeof groupNamed>> {
  const name = named(request, 'group');
  const found = groupNamed(provider.state, name);
  if (!found) throw noGroup(name);
  return found;
}

function hsmRoutes(parts: ArmParts, routes: Router): void {
  const { provider, tenantId } = parts;
  const list = (request: Request, response: Response, scope: string, group: string | undefined): void => {
    const { state } = provider;
    const caller = callerIn(response);
    permitList(state, caller, `${HSM_ACTION}/read`, scope);
    const shown = state.hsms.filter(
      (hsm) =>
        isLiving(hsm) &&
        (group === undefined || sameName(hsm.group, group)) &&
        may(state, caller, `${HSM_ACTION}/read`, hsmId(state, hsm)),
    );
    sendPage(
      parts,
      request,
      response,
      shown,
      ({ name }) => name,
      (hsm) => shapeOf(parts, hsm),
    );
  };
  routes.get(`${SUBSCRIPTION}/${HSMS}`, (request, response) => {
    list(request, response, `/subscriptions/${provider.state.subscription.id}`, undefined);
  });
  routes.get(`${GROUP}/${HSMS}`, (request, response) => {
    const group = named(request, 'group');
    const scope = groupId(provider.state, group);
    permitList(provider.state, callerIn(response), `${HSM_ACTION}/read`, scope);
    groupAt(parts, request);
    list(request, response, scope, group);
  });
  routes.get(HSM, (request, response) => {
    response.json(shapeOf(parts, readable(parts, request, response, 'read')));
  });
  routes.put(HSM, async (request, response) => {
    mayHsm(parts, request, response, 'write');
    const [group, name, operation] = [named(request, 'group'), named(request, 'name'), newUuid()];
    const properties = hsmIn(request.body);
    const state = await provider.act({
      kind: 'PutHsm',
      by: callerIn(response).objectId,
      group,
      name,
      poolId: newUuid(),
      operation,
      tenantId,
      properties,
    });
    const made = hsmNamed(state, group, name);
    if (made?.operation === operation) sendAccepted(parts, request, response, operation);
    else if (made) response.json(shapeOf(parts, made));
    else throw noHsm(state, { group, name }); // deleted while its instances were told
  });
  routes.patch(HSM, async (request, response) => {
    mayHsm(parts, request, response, 'write');
    const [group, name] = [named(request, 'group'), named(request, 'name')];
    const properties = hsmIn(request.body);
    const by = callerIn(response).objectId;
    const state = await provider.act({ kind: 'PatchHsm', by, group, name, tenantId, properties });
    const changed = hsmNamed(state, group, name);
    if (!changed) throw noHsm(state, { group, name });
    response.json(shapeOf(parts, changed));
  });
  routes.delete(HSM, async (request, response) => {
    mayHsm(parts, request, response, 'delete');
    const [group, name, operation] = [named(request, 'group'), named(request, 'name'), newUuid()];
    if (!hsmNamed(provider.state, group, name)) {
      response.status(204).end();
      return;
    }
    await provider.act({ kind: 'DeleteHsm', by: callerIn(response).objectId, group, name, operation });
    sendAccepted(parts, request, response, operation);
  });
  routes.get(`${HSM}/regions`, (request, response) => {
    response.json({ value: [regionShape(readable(parts, request, response, 'read'))] });
  });
  routes.post(`${SUBSCRIPTION}/providers/${KEY_VAULT}/checkMhsmNameAvailability`, (request, response) => {
    const { state } = provider;
    // Whoever may see HSMs anywhere may ask: the answer is what a create would say.
    permitList(state, callerIn(response), `${HSM_ACTION}/read`, `/subscriptions/${state.subscription.id}`);
    const problem = nameProblem(state, nameIn(request.body));
    response.json({ nameAvailable: problem === undefined, ...problem });
  });
  const { keys } = parts;
  if (keys) {
    routes.use(
      `${HSM}/keys`,
      (request, response, next) => {
        const action = request.method === 'GET' || request.method === 'HEAD' ? 'keys/read' : 'keys/write';
        const hsm = readable(parts, request, response, action);
        const pool = provider.openPool(hsm.pool);
        if (!pool) {
          throw new ControlRefusal('Conflict', `The managed HSM '${hsm.name}' does not serve at present.`);
        }
        setKeysTarget(response, {
          resourceId: hsmId(provider.state, hsm),
          location: hsm.location,
          pool,
          token: (request.get('authorization') ?? '').replace(/^Bearer +/i, ''),
          objectId: callerIn(response).objectId,
        });
        next();
      },
      keys,
    );
  }
}

function deletedRoutes(parts: ArmParts, routes: Router): void {
  const { provider } = parts;
  const DELETED = `${SUBSCRIPTION}/providers/${KEY_VAULT}/locations/:location/deletedManagedHSMs/:name`;
  const scopeOf = (request: Request): string =>
    `/subscriptions/${provider.state.subscription.id}/providers/${KEY_VAULT}/locations/${named(request, 'location')}` +
    `/deletedManagedHSMs/${named(request, 'name')}`;
  routes.get(`${SUBSCRIPTION}/providers/${KEY_VAULT}/deletedManagedHSMs`, (request, response) => {
    const { state } = provider;
    permit(
      state,
      callerIn(response),
      `${KEY_VAULT}/deletedManagedHsms/read`,
      `/subscriptions/${state.subscription.id}`,
    );
    const shown = state.hsms.filter(({ phase }) => phase === 'Deleted');
    sendPage(
      parts,
      request,
      response,
      shown,
      (hsm) => deletedId(state, hsm),
      (hsm) => deletedShape(state, hsm),
    );
  });
  routes.get(DELETED, (request, response) => {
    const { state } = provider;
    permit(state, callerIn(response), `${KEY_VAULT}/locations/deletedManagedHsms/read`, scopeOf(request));
    const [location, name] = [named(request, 'location'), named(request, 'name')];
    const found = deletedNamed(state, location, name);
    if (!found) throw noDeleted(name, location);
    response.json(deletedShape(state, found));
  });
  routes.post(`${DELETED}/purge`, async (request, response) => {
    const action = `${KEY_VAULT}/locations/deletedManagedHsms/purge/action`;
    permit(provider.state, callerIn(response), action, scopeOf(request));
    const [location, name, operation] = [named(request, 'location'), named(request, 'name'), newUuid()];
    await provider.act({ kind: 'PurgeHsm', by: callerIn(response).objectId, location, name, operation });
    sendAccepted(parts, request, response, operation);
  });
}

function connectionRoutes(parts: ArmParts, routes: Router): void {
  const { provider } = parts;
  const CONNECTIONS = `${HSM}/privateEndpointConnections`;
  const found = (request: Request, hsm: Hsm): Hsm['connections'][number] => {
    const name = named(request, 'connection');
    const one = connectionNamed(hsm, name);
    if (one) return one;
    throw new ArmRefusal('ResourceNotFound', `The private endpoint connection '${name}' was not found.`);
  };
  routes.get(CONNECTIONS, (request, response) => {
    const hsm = readable(parts, request, response, 'privateEndpointConnections/read');
    sendPage(
      parts,
      request,
      response,
      hsm.connections,
      ({ name }) => name,
      (one) => connectionShape(provider.state, hsm, one),
    );
  });
  routes.get(`${CONNECTIONS}/:connection`, (request, response) => {
    const hsm = readable(parts, request, response, 'privateEndpointConnections/read');
    response.json(connectionShape(provider.state, hsm, found(request, hsm)));
  });
  routes.put(`${CONNECTIONS}/:connection`, async (request, response) => {
    mayHsm(parts, request, response, 'privateEndpointConnections/write');
    const [group, name] = [named(request, 'group'), named(request, 'name')];
    const connection = named(request, 'connection');
    const body = connectionIn(request.body);
    const by = callerIn(response).objectId;
    const state = await provider.act({ kind: 'PutConnection', by, group, name, connection, ...body });
    const hsm = hsmNamed(state, group, name);
    if (!hsm) throw noHsm(state, { group, name });
    response.json(connectionShape(state, hsm, found(request, hsm)));
  });
  routes.delete(`${CONNECTIONS}/:connection`, async (request, response) => {
    mayHsm(parts, request, response, 'privateEndpointConnections/delete');
    const [group, name] = [named(request, 'group'), named(request, 'name')];
    const connection = named(request, 'connection');
    const before = hsmNamed(provider.state, group, name);
    const one = before && connectionNamed(before, connection);
    const shape = before && one && connectionShape(provider.state, before, one);
    await provider.act({
      kind: 'DeleteConnection',
      by: callerIn(response).objectId,
      group,
      name,
      connection,
    });
    if (shape) response.json(shape);
    else response.status(204).end();
  });
  routes.get(`${HSM}/privateLinkResources`, (request, response) => {
    const hsm = readable(parts, request, response, 'privateLinkResources/read');
    response.json({ value: [linkResourceShape(provider.state, hsm)] });
  });
}

function shapeOf({ provider, uriOf }: ArmParts, hsm: Hsm): Record<string, unknown> {
  return hsmShape(provider.state, hsm, {
    uri: uriOf(hsm.pool),
    activation: provider.openPool(hsm.pool)?.status().activation,
  });
}

/** Throws unless the caller may do this to the HSM that the path names, whether there is one or not. */
function mayHsm({ provider }: ArmParts, request: Request, response: Response, what: string): void {
  const { state } = provider;
  const [group, name] = [named(request, 'group'), named(request, 'name')];
  permit(state, callerIn(response), `${HSM_ACTION}/${what}`, hsmId(state, { group, name }));
}

/** The HSM that the path names, for who may do this to it. */
function readable(parts: ArmParts, request: Request, response: Response, what: string): Hsm {
  mayHsm(parts, request, response, what);
  const { state } = parts.provider;
  const wanted = { group: named(request, 'group'), name: named(request, 'name') };
  const found = hsmNamed(state, wanted.group, wanted.name);
  if (!found) throw noHsm(state, wanted);
  return found;
}
