// Finding the token and logging in: what the serving process and the provisioner have in common.
import type { Library } from '../pkcs11/library.js';
import type { Session, User } from '../pkcs11/session.js';
import { wipe } from '../../values/bytes.js';
import { TOKEN_LABEL } from './templates.js';

/** Slot of the token with our label. */
export function findToken(library: Library): number {
  const slot = library
    .slotsSync(true)
    .find((candidate) => library.tokenInfoSync(candidate).label === TOKEN_LABEL);
  if (slot === undefined) throw new Error('the token is not in any slot');
  return slot;
}

export async function loginAs(session: Session, user: User, pin: string): Promise<void> {
  const bytes = Buffer.from(pin);
  try {
    await session.login(user, bytes);
  } finally {
    wipe(bytes);
  }
}

/** Handle of the one object with this label. */
export async function findOne(session: Session, label: string): Promise<number> {
  const [object, ...others] = await session.findObjects({ label });
  if (object === undefined || others.length > 0)
    throw new Error(`the token does not hold exactly one ${label}`);
  return object;
}
