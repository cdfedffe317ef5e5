// Who may reach a pool's data plane, as its owner has set it on the control plane. Rules only: nothing here judges an
// address.

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
