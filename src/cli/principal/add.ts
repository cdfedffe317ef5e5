// `trivet principal add` and `reset`: the two that show a secret, once.
import type { NewPrincipal } from '../../fabric/login/principals.js';
import { connect, print } from '../ask.js';

export async function addPrincipal(dataDirectory: string, name: string, json: boolean): Promise<void> {
  const fabric = await connect(dataDirectory);
  show((await fabric.call('POST', '/trivet/principals', { name })) as NewPrincipal, json);
}

/** The administrator's new secret is also where the old one was. */
export async function resetPrincipal(dataDirectory: string, who: string, json: boolean): Promise<void> {
  const fabric = await connect(dataDirectory);
  show(
    (await fabric.call('POST', `/trivet/principals/${encodeURIComponent(who)}/reset`)) as NewPrincipal,
    json,
  );
}

function show(made: NewPrincipal, json: boolean): void {
  print(
    json
      ? JSON.stringify(made)
      : `client id      ${made.clientId}\nclient secret  ${made.clientSecret} (shown only now)\nobject id      ${made.objectId}`,
  );
}
