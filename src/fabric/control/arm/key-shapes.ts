// Keys as the control plane writes them, from what the data plane answers, and its wishes the other way round. Pure.
// The data plane checks what is wished: here it is only put into its words.

/** What the data plane answers with or takes; looked into member by member. */
export type Body = Readonly<Record<string, unknown>>;

/** The HSM that the keys are in. */
export interface Place {
  /** Its resource id. */
  readonly resourceId: string;
  readonly location: string;
}

const TYPE = 'Microsoft.KeyVault/managedHSMs/keys';

/** Members of a wish under `properties`, by their names here and there. */
const WORDS = [
  ['kty', 'kty'],
  ['keyOps', 'key_ops'],
  ['keySize', 'key_size'],
  ['curveName', 'crv'],
  ['attributes', 'attributes'],
  ['release_policy', 'release_policy'],
  ['rotationPolicy', 'rotation_policy'],
] as const;

export function isBody(value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A wish for a new key, for the data plane; undefined when it is none at all. */
export function wishFrom(body: unknown): Body | undefined {
  if (!isBody(body)) return undefined;
  const { tags, properties } = body;
  if (!isBody(properties)) return undefined;
  const words = WORDS.map(([here, there]): [string, unknown] => [there, properties[here]]);
  const wish: Body = Object.fromEntries(words);
  return tags === undefined ? wish : { ...wish, tags };
}

/** Words of the data plane in those of the control plane. */
export function reworded(message: string): string {
  return message.replace(/^Property '([a-z_]+)/, (whole, name: string) => {
    const [here] = WORDS.find(([, there]) => there === name) ?? [];
    return here === undefined ? whole : `Property 'properties.${here}`;
  });
}

/** A key from its bundle; the newest version of it unless `version` is asked for. */
export function keyFrom(place: Place, bundle: Body, version?: string): Body {
  const { attributes, key, release_policy, tags } = bundle;
  const jwk = isBody(key) ? key : {};
  const { name, uri, uriWithVersion } = namesIn(jwk['kid']);
  return {
    ...headOf(place, name, version),
    ...(tags === undefined ? {} : { tags }),
    properties: {
      attributes: attributesFrom(attributes),
      kty: jwk['kty'],
      keyOps: jwk['key_ops'],
      keySize: sizeOf(jwk, attributes),
      curveName: jwk['crv'],
      keyUri: uri,
      keyUriWithVersion: uriWithVersion,
      release_policy,
    },
  };
}

/** A page of keys or of versions, which the data plane shows without what is in them. */
export function listFrom(place: Place, page: Body): Body[] {
  const items: readonly unknown[] = Array.isArray(page['value']) ? page['value'] : [];
  return items.filter(isBody).map(({ kid, attributes, tags }) => {
    const { name, version, uri, uriWithVersion } = namesIn(kid);
    return {
      ...headOf(place, name, version),
      ...(tags === undefined ? {} : { tags }),
      properties: {
        attributes: attributesFrom(attributes),
        keyUri: uri,
        ...(version === undefined ? {} : { keyUriWithVersion: uriWithVersion }),
      },
    };
  });
}

/** Where a list goes on; undefined on its last page. */
export function placeAfter({ nextLink }: Body): string | undefined {
  if (typeof nextLink !== 'string' || !URL.canParse(nextLink)) return undefined;
  return new URL(nextLink).searchParams.get('$skiptoken') ?? undefined;
}

function headOf({ resourceId, location }: Place, name: string, version?: string): Body {
  const id = `${resourceId}/keys/${name}`;
  if (version === undefined) return { id, name, type: TYPE, location };
  return { id: `${id}/versions/${version}`, name: version, type: `${TYPE}/versions`, location };
}

function namesIn(kid: unknown): {
  readonly name: string;
  readonly version: string | undefined;
  readonly uri: string;
  readonly uriWithVersion: string;
} {
  const uriWithVersion = typeof kid === 'string' ? kid : '';
  const [, uri = uriWithVersion, name = '', version] =
    /^(https:\/\/[^/]+\/keys\/([^/]+))(?:\/([^/]+))?$/.exec(uriWithVersion) ?? [];
  return { name, version, uri, uriWithVersion };
}

function attributesFrom(attributes: unknown): Body {
  const { enabled, nbf, exp, created, updated, recoveryLevel, exportable } = isBody(attributes)
    ? attributes
    : {};
  return { enabled, nbf, exp, created, updated, recoveryLevel, exportable };
}

/** In bits; of an RSA key by its modulus. */
function sizeOf({ n }: Body, attributes: unknown): unknown {
  if (typeof n === 'string') return Buffer.from(n, 'base64url').length * 8;
  return isBody(attributes) ? attributes['key_size'] : undefined;
}
