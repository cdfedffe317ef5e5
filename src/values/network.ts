// Who may reach a pool's data plane, as its owner has set it on the control plane. Rules and how they are written:
// nothing here judges an address.
import { BlockList, isIPv4, isIPv6 } from 'node:net';

export interface NetworkRules {
  /** Disabled: nobody comes in over the public network, whatever the rules below say. */
  readonly publicNetworkAccess: 'Enabled' | 'Disabled';
  /** Whether trusted services of the cloud come in all the same. */
  readonly bypass: 'AzureServices' | 'None';
  /** What holds for an address that no rule names. */
  readonly defaultAction: 'Allow' | 'Deny';
  /** IPv4 addresses and networks in CIDR form. */
  readonly ipRules: readonly string[];
  readonly serviceTags: readonly string[];
  /** Resource ids of subnets. */
  readonly virtualNetworkRules: readonly string[];
  /** Approved private endpoint connections, and the resource ids of their endpoints. */
  readonly privateEndpoints: readonly { readonly name: string; readonly endpoint: string }[];
}

/** What holds for a pool whose owner has set nothing. */
export const OPEN_NETWORK: NetworkRules = {
  publicNetworkAccess: 'Enabled',
  bypass: 'AzureServices',
  defaultAction: 'Allow',
  ipRules: [],
  serviceTags: [],
  virtualNetworkRules: [],
  privateEndpoints: [],
};

/** An address, or with its prefix a network. */
export interface IpRange {
  readonly address: string;
  /** 0..32 bits. */
  readonly prefix: number;
}

/** Reads an IPv4 address or network in CIDR form; undefined for anything else. */
export function ipRangeIn(rule: string): IpRange | undefined {
  const [, address = '', prefix = '32'] = /^([0-9.]{7,15})(?:\/(0|[1-9][0-9]?))?$/.exec(rule) ?? [];
  return isIPv4(address) && Number(prefix) <= 32 ? { address, prefix: Number(prefix) } : undefined;
}

/**
 * The address that comes in over a private endpoint. There are no private networks here, so an endpoint stands for one
 * address, which is its name: `…/privateEndpoints/127.0.0.3`. Undefined for an endpoint of any other name, over which
 * nobody comes.
 */
export function privateAddress(endpoint: string): string | undefined {
  const [, name = ''] = /\/privateEndpoints\/([^/]+)$/i.exec(endpoint) ?? [];
  return isIPv4(name) ? name : undefined;
}

/** Networks that are nobody's in particular (RFC 1918): who comes from one cannot be told. */
const PRIVATE = new BlockList();
PRIVATE.addSubnet('10.0.0.0', 8);
PRIVATE.addSubnet('172.16.0.0', 12);
PRIVATE.addSubnet('192.168.0.0', 16);

/** What is wrong with an IP rule that an owner wishes for, as a sentence; undefined for a good one. */
export function ipRuleProblem(rule: string): string | undefined {
  const shown = `'${rule.slice(0, 64)}'`;
  if (isIPv6(rule.replace(/\/.*$/, '')))
    return `The IP rule ${shown} is of IPv6, which a managed HSM does not take.`;
  const range = ipRangeIn(rule);
  if (!range) return `The IP rule ${shown} is no IPv4 address and no IPv4 network in CIDR form.`;
  return PRIVATE.check(range.address)
    ? `The IP rule ${shown} is of a private network (RFC 1918), which a managed HSM does not take.`
    : undefined;
}
