// Handlers of what the pool trusts: hosts, measurements, issuers. Each answers with all of it as it is then.
import { toJson } from '../../values/json.js';
import {
  addHost,
  addIssuer,
  allowMeasurement,
  removeTrust,
  showTrust,
  type TrustView,
} from '../hsm/trust.js';
import type { TrustedHostBody, TrustedIssuerBody } from './bodies.js';
import { whenDone, type Answer, type Call } from './call.js';

/** `GET /trivet/trust`. */
export function show({ hsm, caller }: Call): Answer {
  return whenDone(showTrust(hsm, caller), written);
}

/** `PUT /trivet/trust/hosts/{sha256}`. */
export async function putHost({ hsm, caller, item }: Call, body: TrustedHostBody): Promise<string> {
  return written(await addHost(hsm, caller, item, body.publicKey));
}

/** `PUT /trivet/trust/measurements/{sha256}`: the path says it all. */
export async function putMeasurement({ hsm, caller, item }: Call): Promise<string> {
  return written(await allowMeasurement(hsm, caller, item));
}

/** `PUT /trivet/trust/issuers/{sha256}`. */
export async function putIssuer({ hsm, caller, item }: Call, body: TrustedIssuerBody): Promise<string> {
  const { issuer, metadataUrl, ca, audience } = body;
  return written(
    await addIssuer(hsm, caller, item, {
      issuer,
      ...(metadataUrl !== undefined && { metadataUrl }),
      ...(ca !== undefined && { ca }),
      ...(audience !== undefined && { audience }),
    }),
  );
}

/** `DELETE /trivet/trust/{list}/{sha256}`. */
export function remove(list: 'hosts' | 'measurements' | 'issuers') {
  return async ({ hsm, caller, item }: Call): Promise<string> =>
    written(await removeTrust(hsm, caller, list, item));
}

function written({ hosts, measurements, issuers, running }: TrustView): string {
  return toJson({
    hosts: hosts.map(({ id, publicKey }) => ({ id, publicKey })),
    issuers: issuers.map(({ id, issuer }) => {
      if (issuer.keys !== undefined) return { id, issuer: issuer.issuer, pinned: true };
      const { audience, ca, issuer: name, metadataUrl } = issuer;
      return { audience, ca, id, issuer: name, metadataUrl, pinned: false };
    }),
    measurements: [...measurements],
    running,
  });
}
