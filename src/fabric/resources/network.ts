// The firewall that an HSM's owner wishes for, and what of it an instance is told. Pure.
import { ipRuleProblem } from '../../values/network.js';
import type { NetworkRules } from '../../values/network.js';
import type { Hsm, NetworkAcls } from './state.js';

/** The service's own limit. */
const IP_RULES_MAX = 10;

/** What is wrong with rules, as a sentence. */
export function checkNetwork({ ipRules }: NetworkAcls): string | undefined {
  if (ipRules.length > IP_RULES_MAX) {
    return `There are ${ipRules.length} IP rules; a managed HSM takes at most ${IP_RULES_MAX}.`;
  }
  return ipRules.map(ipRuleProblem).find((problem) => problem !== undefined);
}

export function networkRulesOf({ networkAcls, publicNetworkAccess, connections }: Hsm): NetworkRules {
  return {
    publicNetworkAccess,
    ...networkAcls,
    privateEndpoints: connections
      .filter(({ status }) => status === 'Approved')
      .map(({ name, endpoint }) => ({ name, endpoint })),
  };
}
