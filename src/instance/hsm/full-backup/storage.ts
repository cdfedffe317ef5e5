// Which storages a pool may ask: those that it was made with, and the one that its fabric has started. Exact names and
// ports; an address that could mean something else is none.
import { POOL } from '../../model/pool.js';
import type { State } from '../../model/state.js';
import type { StorageHost } from '../../../values/messages.js';
import { hostOf } from './container.js';

/** A container, `/name`; or below an account, `/account/name`, where the host serves several. */
const PATH = /^(?:\/[a-z0-9]{3,24})?\/(?:[a-z0-9](?:[a-z0-9-]{1,61})[a-z0-9]|\$root)$/;

/** The URL in the one form that is kept, or undefined for what is no URL of a container. */
export function containerUrl(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  const plain = url.username === '' && url.password === '' && url.search === '' && url.hash === '';
  const path = url.pathname.replace(/\/+$/, '');
  if (url.protocol !== 'https:' || !plain || !PATH.test(path)) return undefined;
  return `${url.origin}${path}`;
}

/** The allowed storage that a container's URL names; undefined when it is not allowed. */
export function allowedStorage(
  state: State,
  started: StorageHost | undefined,
  url: string,
): StorageHost | undefined {
  const host = hostOf(new URL(url));
  const allowed = [...(started ? [started] : []), ...(state.get('pool', POOL)?.storage ?? [])];
  return allowed.find((one) => one.host === host);
}
