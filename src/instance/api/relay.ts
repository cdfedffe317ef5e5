// What the fabric passes on from the control plane: calls on keys, with the caller's own token. Known by a secret that
// the fabric has made up and shared with its instances alone: to anybody else this door does not exist, with whatever
// token. Believes tokens for the control plane, and for nothing else.
import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Relay } from '../../values/messages.js';

/** The header that holds the secret. */
const HEADER = 'x-trivet-relay';

/** Whether the fabric passes a request on. */
export function createIsRelayed(relay: Relay | undefined): (request: IncomingMessage) => boolean {
  if (!relay) return () => false;
  const secret = Buffer.from(relay.secret);
  return ({ headers }) => {
    const shown = headers[HEADER];
    if (typeof shown !== 'string') return false;
    const bytes = Buffer.from(shown);
    return bytes.length === secret.length && timingSafeEqual(bytes, secret);
  };
}
