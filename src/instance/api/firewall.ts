// Who may come in at all: the rules of the pool's owner against the address that a connection came from. Asked for
// every request, so that new rules count on connections that are open already. Knows no socket and no token.
//
// - Over an approved private endpoint one comes in whatever else is said.
// - Without public network access nobody else does.
// - `bypass`, service tags and subnets let nobody in: there are no trusted services, tags and subnets here.
import { BlockList } from 'node:net';
import { ipRangeIn, OPEN_NETWORK, privateAddress, type NetworkRules } from '../../values/network.js';

/** True for an address that may come in; undefined stands for one that is not known any more. */
export type Admits = (address: string | undefined) => boolean;

/** The decision that follows from rules. */
export function admissionBy(rules: NetworkRules): Admits {
  const isPublic = rules.publicNetworkAccess === 'Enabled';
  if (isPublic && rules.defaultAction === 'Allow') return () => true;
  const named = new BlockList();
  for (const { endpoint } of rules.privateEndpoints) {
    const address = privateAddress(endpoint);
    if (address !== undefined) named.addAddress(address);
  }
  for (const rule of isPublic ? rules.ipRules : []) {
    const range = ipRangeIn(rule);
    // One that nobody can read lets nobody in.
    if (range) named.addSubnet(range.address, range.prefix);
  }
  // An IPv4 client on a socket of both families is looked up by its IPv4 address.
  return (address) => address !== undefined && named.check(address, address.includes(':') ? 'ipv6' : 'ipv4');
}

/** The rules that hold now. */
export class Firewall {
  #admits: Admits;

  constructor(rules: NetworkRules = OPEN_NETWORK) {
    this.#admits = admissionBy(rules);
  }

  change(rules: NetworkRules): void {
    this.#admits = admissionBy(rules);
  }

  admits(address: string | undefined): boolean {
    return this.#admits(address);
  }
}
