// What `az` asks of a directory around its role commands, in the form of Microsoft Graph 1.0: the names behind ids, and
// the id behind a name. There are service principals here and nothing else, so nobody is ever found among users and
// groups. For administrators of the control plane; others are told in Graph's words that they may not look, with which
// `az` goes on without names.
import express from 'express';
import type { Request, RequestHandler, Router } from 'express';
import { ControlRefusal } from './errors.js';

export interface DirectoryPrincipal {
  readonly name: string;
  readonly clientId: string;
  readonly objectId: string;
  readonly managed?: true;
}

/** As many as Graph takes at a time. */
const IDS_MAX = 1_000;
const GUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** Types that mean service principals, or everything. */
const TYPES = ['serviceprincipal', 'directoryobject'];

/** `mayLook` throws a {@link ControlRefusal}, or goes on. */
export function directoryRoutes(
  principals: () => readonly DirectoryPrincipal[],
  mayLook: RequestHandler,
): Router {
  const routes = express.Router();
  routes.use(mayLook, express.json({ limit: '64kb' }));
  routes.post('/directoryObjects/getByIds', (request, response) => {
    const { ids, types } = wishIn(request);
    const asked = new Set(ids.map((id) => id.toLowerCase()));
    const wanted = types.length === 0 || types.some((type) => TYPES.includes(type.toLowerCase()));
    const found = wanted ? principals().filter(({ objectId }) => asked.has(objectId)) : [];
    response.json({
      value: found.map((one) => ({ '@odata.type': '#microsoft.graph.servicePrincipal', ...shown(one) })),
    });
  });
  routes.get('/servicePrincipals', (request, response) => {
    const is = filterIn(request);
    response.json({ value: principals().filter(is).map(shown) });
  });
  routes.get(['/users', '/groups'], (_request, response) => {
    response.json({ value: [] });
  });
  return routes;
}

function shown({ name, clientId, objectId, managed }: DirectoryPrincipal): Record<string, unknown> {
  return {
    id: objectId,
    appId: clientId,
    displayName: name,
    servicePrincipalNames: [clientId],
    servicePrincipalType: managed ? 'ManagedIdentity' : 'Application',
  };
}

function wishIn(request: Request): { ids: readonly string[]; types: readonly string[] } {
  const body = (request.body ?? {}) as { readonly ids?: unknown; readonly types?: unknown };
  const { ids, types = [] } = body;
  if (!isTexts(ids) || ids.length > IDS_MAX || !ids.every((id) => GUID.test(id))) {
    throw new ControlRefusal('Request_BadRequest', `"ids" must be a list of up to ${IDS_MAX} GUIDs.`);
  }
  if (!isTexts(types)) throw new ControlRefusal('Request_BadRequest', '"types" must be a list of texts.');
  return { ids, types };
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}

// The three comparisons that are asked for; a quote in a text is written twice.
const FILTER = /^(servicePrincipalNames\/any\(c:\s*c eq |appId eq |displayName eq )'((?:[^']|'')*)'(\))?$/;

function filterIn({ query }: Request): (principal: DirectoryPrincipal) => boolean {
  const filter = query['$filter'];
  const [, what = '', quoted = '', end] = (typeof filter === 'string' && FILTER.exec(filter.trim())) || [];
  if (what === '' || what.includes('(') !== (end !== undefined)) {
    throw new ControlRefusal(
      'Request_UnsupportedQuery',
      "The $filter must be servicePrincipalNames/any(c:c eq '...'), appId eq '...' or displayName eq '...'.",
    );
  }
  const text = quoted.replaceAll("''", "'");
  if (what.startsWith('displayName')) return ({ name }) => name === text;
  return ({ clientId }) => clientId === text.toLowerCase();
}
