// Which resources tokens are issued for, and how each is spelled. Pure.

/** The control plane's names in Azure, for clients that are sent here without knowing it. */
const AZURE_CONTROL_PLANE = ['https://management.azure.com', 'https://management.core.windows.net'];
const AZURE_DATA_PLANE = 'managedhsm.azure.net';
const CONTROL_HOSTS = ['localhost', '127.0.0.1', '[::1]', 'login.localhost'];

export interface Resources {
  /** Where the login itself is reached, as origins. */
  readonly login: readonly string[];
  /** Audiences under which the control plane takes tokens. */
  readonly controlPlane: readonly string[];
  /** Suffix of the pools' host names; undefined when no pool believes this login. */
  readonly domain: string | undefined;
}

export function resourcesOf(controlPort: number, domain: string | undefined): Resources {
  const local = CONTROL_HOSTS.map((host) => new URL(`https://${host}:${controlPort}`).origin);
  return { login: local, controlPlane: [...local, ...AZURE_CONTROL_PLANE], domain };
}

/**
 * The audience for a resource: without trailing slashes, host in lower case. Clients join a resource and what follows
 * it with one slash more or less, so slashes do not count.
 */
export function audienceOf(resources: Resources, named: string): string | undefined {
  const resource = named.replace(/\/+$/, '');
  if (!/^https:\/\/[^/?#@\\\s]+$/i.test(resource) || !URL.canParse(resource)) return undefined;
  const { origin, hostname } = new URL(resource);
  if (resources.controlPlane.includes(origin)) return origin;
  if (resources.domain === undefined) return undefined;
  return hostname === resources.domain || hostname === AZURE_DATA_PLANE ? origin : undefined;
}

/** What a refusal of a resource adds where a pool's would be refused whatever it is. */
export function switchedOff({ domain }: Resources): string {
  return domain === undefined ? ' The local login is switched off for pools.' : '';
}
