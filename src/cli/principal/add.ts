// `trivet principal add` and `reset`: the two that show a secret, once.
import type { CertifiedPrincipal, NewPrincipal } from '../../fabric/login/principals.js';
import { connect, print } from '../ask.js';

/** With a certificate (PEM) there is no secret to show. */
export async function addPrincipal(
  dataDirectory: string,
  name: string,
  certificate: string | undefined,
  json: boolean,
): Promise<void> {
  const fabric = await connect(dataDirectory);
  show((await fabric.call('POST', '/trivet/principals', { name, certificate })) as Shown, json);
}

/** The administrator's new secret is also where the old one was. */
export async function resetPrincipal(dataDirectory: string, who: string, json: boolean): Promise<void> {
  const fabric = await connect(dataDirectory);
  show((await fabric.call('POST', `/trivet/principals/${encodeURIComponent(who)}/reset`)) as Shown, json);
}

type Shown = CertifiedPrincipal & Partial<NewPrincipal>;

function show(made: Shown, json: boolean): void {
  if (json) {
    print(JSON.stringify(made));
    return;
  }
  print(`client id      ${made.clientId}`);
  if (made.clientSecret !== undefined) print(`client secret  ${made.clientSecret} (shown only now)`);
  print(`object id      ${made.objectId}`);
}
