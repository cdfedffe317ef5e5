// Finds the route of a request. A missing version segment means the newest version; repeated slashes have been folded
// before, so `/keys/k//sign`, `/keys/k/sign` and `/keys/k/` all arrive here without empty segments.
import { ApiError, bad, notOffered } from './errors.js';
import { routes, routesThroughArm, type Route } from './routes.js';
import { parseTarget, type Query } from './target.js';
import { checkVersion } from './versions.js';

export interface Match {
  readonly route: Route;
  readonly name: string;
  readonly version: string | undefined;
  readonly item: string;
  readonly query: Query;
}

const NAME = /^[0-9a-zA-Z-]{1,127}$/;
/** Last segments of operations on a key; none of them is a version. */
const OPERATIONS: ReadonlySet<string> = new Set(
  routes.map(({ path }) => path.split('/').at(-1) ?? '').filter((segment) => !segment.startsWith('{')),
);

interface Pattern {
  readonly route: Route;
  readonly segments: readonly string[];
}

// A version may be left out, so a path with one stands for two patterns.
function patternsOf(table: readonly Route[]): Pattern[] {
  return table.flatMap((route) => {
    const segments = route.path.split('/');
    const without = segments.filter((segment) => segment !== '{version}');
    return without.length === segments.length
      ? [{ route, segments }]
      : [
          { route, segments },
          { route, segments: without },
        ];
  });
}

const patterns = patternsOf(routes);
const patternsThroughArm = patternsOf(routesThroughArm);

/** What the hot requests' first lines mean: the same few are sent again and again. Both bounds keep it below 4 MiB. */
const KNOWN_MAX = 4_096;
const LINE_MAX = 512;
const known = new Map<string, Match>();

/** The route for a method and request target, or the refusal. */
export function findRoute(method: string, url: string): Match {
  const line = `${method} ${url}`;
  const hit = known.get(line);
  if (hit) return hit;
  const match = search(patterns, method, url);
  if (line.length <= LINE_MAX) {
    if (known.size >= KNOWN_MAX) known.clear();
    known.set(line, match);
  }
  return match;
}

/** The same for what the control plane passes on, which knows a few routes on keys and no others. */
export function findRouteThroughArm(method: string, url: string): Match {
  return search(patternsThroughArm, method, url);
}

function search(table: readonly Pattern[], method: string, url: string): Match {
  const { segments, query } = parseTarget(url);
  const folded = segments.map((segment) => segment.toLowerCase());
  let pathKnown = false;
  // Fixed segments are tried before a version: `/keys/k/versions` is a list.
  const fitting = table.filter((pattern) => fits(pattern, folded));
  for (const versioned of [false, true]) {
    if (pathKnown) break;
    for (const { route, segments: names } of fitting) {
      if (names.includes('{version}') !== versioned || !isVersion(names, folded)) continue;
      pathKnown = true;
      if (route.method !== method) continue;
      const name = segments[names.indexOf('{name}')] ?? '';
      if (names.includes('{name}') && !NAME.test(name)) {
        bad('A key name consists of 1 to 127 letters, digits and hyphens');
      }
      // Pages are fetched by the links that the service made, and those carry no version; so are jobs.
      const mayLackIt = query.skipToken !== undefined || route.unversioned === true;
      if (!mayLackIt || query.apiVersion !== undefined) {
        checkVersion(query.apiVersion, route.since, names.at(-1) ?? '');
      }
      const version = segments[names.indexOf('{version}')];
      return { route, name, version, item: folded[names.indexOf('{item}')] ?? '', query };
    }
  }
  const last = folded.at(-1) ?? '';
  const underKey = folded[0] === 'keys' && folded.length >= 2 && folded.length <= 4;
  if (underKey && folded.length >= 3 && method === 'POST') notOffered(`action '${last}'`);
  if (pathKnown) throw new ApiError('NoSuchMethod', `The method ${method} is not allowed here`);
  throw new ApiError('NoSuchPath', 'There is nothing at this path');
}

function fits({ segments }: Pattern, folded: readonly string[]): boolean {
  return (
    segments.length === folded.length &&
    segments.every((segment, place) => segment.startsWith('{') || segment === folded[place])
  );
}

/** The name of an operation in the version's place is not a version. */
function isVersion(names: readonly string[], folded: readonly string[]): boolean {
  const version = folded[names.indexOf('{version}')];
  return version === undefined || !OPERATIONS.has(version);
}
