// Names of the pool as its clients see them: the start of every URL in an answer, and the resource of the challenge.

export interface PoolAddress {
  /** First label of the pool's host name. */
  readonly name: string;
  /** The rest of it: `managedhsm.localhost`. */
  readonly domain: string;
  /** Port of the data plane as clients see it. */
  readonly dataPort: number;
}

export interface Names {
  /** `https://{host}`, without a slash at the end. */
  readonly base: string;
  /** Value of the WWW-Authenticate header. */
  readonly challenge: string;
}

/** Is a host, with or without a port, a name of this pool? */
export type IsOwnHost = (host: string) => boolean;

/** Names for the Host header of a request. */
export type NamesOf = (host: string | undefined) => Names;

const PORT = /^:[0-9]{1,5}$/;

/**
 * Only hosts that can be this pool are reflected; for any other the canonical name stands, so that nobody can plant a
 * foreign address in an answer. Clients check that the challenge's resource is the parent of the host they asked, the
 * port included, hence: the Host header without its first label.
 */
export function createNames(pool: PoolAddress, authority: string): NamesOf & { readonly owns: IsOwnHost } {
  const own = `${pool.name}.${pool.domain}`.toLowerCase();
  const canonical = `${own}:${pool.dataPort}`;
  const parent = `${pool.domain}:${pool.dataPort}`;
  const accepted = [own, 'localhost', '127.0.0.1', '[::1]'];

  const nameIn = (host: string) =>
    accepted.find((start) => host.startsWith(start) && isPort(host.slice(start.length)));

  function namesOf(host: string): Names {
    const name = nameIn(host);
    const resource = name === own ? host.slice(pool.name.length + 1) : parent;
    return {
      base: `https://${name === undefined ? canonical : host}`,
      // A space after the comma and quotes around the values: the JavaScript client reads nothing else.
      challenge: `Bearer authorization="${authority}", resource="https://${resource}"`,
    };
  }

  let lastHost = canonical;
  let lastNames = namesOf(canonical);
  const names: NamesOf = (host = canonical) => {
    // Clients of one pool nearly always use one name.
    if (host !== lastHost) {
      lastHost = host;
      lastNames = namesOf(host.toLowerCase());
    }
    return lastNames;
  };
  return Object.assign(names, { owns: (host: string) => nameIn(host.toLowerCase()) !== undefined });
}

function isPort(text: string): boolean {
  return text === '' || PORT.test(text);
}
