// The description of what is served, as an OpenAPI 3.1 document, made from what the service itself goes by: the table
// of routes, the schemas of the bodies and the list of api-versions. What answers look like is in answers.ts.
import * as z from 'zod';
import { toJson, type Json } from '../../values/json.js';
import * as bodies from './bodies.js';
import { saidOf, shapes, type QueryParameter } from './answers.js';
import { BUILD } from './responder.js';
import { routes, type Route } from './routes.js';
import { apiVersions, type ApiVersion } from './versions.js';

/** Where it is offered: no path of the service begins like this. */
const DESCRIPTION_PATH = '/trivet/openapi.json';

/** True for the request target of the description. */
export function isDescription(url: string): boolean {
  return url.startsWith(DESCRIPTION_PATH) && ['', '?'].includes(url.charAt(DESCRIPTION_PATH.length));
}

interface Members {
  readonly [member: string]: Json | undefined;
}

/** The document as JSON text, the same for every pool and caller. */
export function describeApi(): string {
  const { components, nameOf } = schemas();
  const paths: Record<string, Record<string, Json>> = {};
  for (const route of routes) {
    for (const path of pathsOf(route)) {
      (paths[path] ??= {})[route.method.toLowerCase()] = operation(route, path, nameOf);
    }
  }
  return toJson({
    openapi: '3.1.0',
    info: {
      title: 'Trivet',
      version: BUILD,
      summary: 'The data plane of Azure Key Vault Managed HSM, as this build serves it',
      description:
        'Every operation of this list is served, and no other. Fixed segments of paths are compared without case. ' +
        'Operations on a version are served without it too, for the newest one.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }],
    paths,
    components: {
      schemas: components,
      parameters: parameters(),
      responses: {
        Unauthenticated: {
          description: 'No token, or none that is believed',
          headers: { 'WWW-Authenticate': { schema: { type: 'string' } } },
        },
        Refused: {
          description: 'A refusal or an outage; 503 with Retry-After was certainly not carried out',
          content: json(reference('schemas', 'Problem')),
        },
      },
      securitySchemes: { token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } },
    },
  });
}

/** A version that may be left out makes two paths of one. */
function pathsOf({ path }: Route): string[] {
  const whole = `/${path}`;
  const without = whole.replace('/{version}', '');
  return without === whole ? [whole] : [whole, without];
}

function operation(route: Route, path: string, nameOf: ReadonlyMap<z.ZodType, string>): Json {
  const { summary, answer, query = [] } = saidOf(route) ?? {};
  const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
  const parameters = [...named, sinceName(route.since), ...query.map(parameterName)];
  const schema = (shape: z.ZodType) => json(reference('schemas', nameOf.get(shape) ?? ''));
  return {
    operationId: `${route.method.toLowerCase()}${path.replaceAll(/[^a-zA-Z]+(\w?)/g, (_, next: string) => next.toUpperCase())}`,
    summary,
    'x-data-action': `Microsoft.KeyVault/managedHsm/${route.action}`,
    'x-scope': route.scope === 'key' ? '/keys/{name}' : route.scope,
    parameters: parameters.map((name) => reference('parameters', name)),
    requestBody: route.body && { required: true, content: schema(route.body) },
    responses: {
      [route.status]: { description: 'Done', content: answer && schema(answer) },
      401: reference('responses', 'Unauthenticated'),
      default: reference('responses', 'Refused'),
    },
  };
}

function parameters(): Members {
  const text = { type: 'string' };
  const inPath = (name: string, schema: Json) => ({ name, in: 'path', required: true, schema });
  const inQuery = (name: QueryParameter, schema: Json) => ({ name, in: 'query', schema });
  const since = [...new Set(routes.map((route) => route.since))];
  return {
    name: inPath('name', { ...text, pattern: '^[0-9a-zA-Z-]{1,127}$' }),
    version: inPath('version', { ...text, pattern: '^[0-9a-f]{32}$' }),
    item: inPath('item', text),
    [parameterName('maxresults')]: inQuery('maxresults', { type: 'integer', minimum: 1, maximum: 25 }),
    [parameterName('$skiptoken')]: inQuery('$skiptoken', text),
    [parameterName('$filter')]: inQuery('$filter', text),
    ...Object.fromEntries(
      since.map((first) => [
        sinceName(first),
        {
          name: 'api-version',
          in: 'query',
          required: true,
          schema: { ...text, enum: apiVersions.slice(apiVersions.indexOf(first)) },
        },
      ]),
    ),
  };
}

/** All schemas by name, and the names by schema. */
function schemas(): { components: Members; nameOf: ReadonlyMap<z.ZodType, string> } {
  const registry = z.registry<{ id: string }>();
  const nameOf = new Map<z.ZodType, string>();
  const add = (id: string, shape: z.ZodType) => {
    registry.add(shape, { id });
    nameOf.set(shape, id);
  };
  for (const [id, shape] of Object.entries(shapes)) add(id, shape);
  for (const [name, shape] of Object.entries(bodies)) {
    if (shape instanceof z.ZodType) add(`${name.charAt(0).toUpperCase()}${name.slice(1)}`, shape);
  }
  const { schemas: made } = z.toJSONSchema(registry, {
    io: 'input', // what clients send, before text becomes bytes
    uri: (id) => `#/components/schemas/${id}`,
  });
  // They are parts of one document, which is of one dialect, and have no addresses of their own.
  const part = (schema: object) =>
    Object.fromEntries(
      Object.entries(schema).filter(([name]) => name !== '$id' && name !== '$schema'),
    ) as Json;
  const components = Object.fromEntries(Object.entries(made).map(([id, schema]) => [id, part(schema)]));
  return { components, nameOf };
}

function parameterName(name: QueryParameter): string {
  return name.replace('$', '');
}

function sinceName(version: ApiVersion): string {
  return `since-${version}`;
}

function reference(kind: 'schemas' | 'parameters' | 'responses', name: string): Json {
  return { $ref: `#/components/${kind}/${name}` };
}

function json(schema: Json): Json {
  return { 'application/json': { schema } };
}
