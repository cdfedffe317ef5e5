// `trivet principal add` and `reset`: the two that show a secret, once.
import type { PrincipalKind } from '../../fabric/control/management.js';
import type { CertifiedPrincipal, ManagedPrincipal, NewPrincipal } from '../../fabric/login/principals.js';
import { connect, print } from '../ask.js';

/** With a certificate there is no secret to show. */
export async function addPrincipal(
  dataDirectory: string,
  name: string,
  { certificate, managedIdentity }: PrincipalKind,
  json: boolean,
): Promise<void> {
  const fabric = await connect(dataDirectory);
  const wish = { name, certificate, managedIdentity };
  show((await fabric.call('POST', '/trivet/principals', wish)) as Shown, json);
}

/** The administrator's new secret is also where the old one was. */
export async function resetPrincipal(dataDirectory: string, who: string, json: boolean): Promise<void> {
  const fabric = await connect(dataDirectory);
  show((await fabric.call('POST', `/trivet/principals/${encodeURIComponent(who)}/reset`)) as Shown, json);
}

type Shown = CertifiedPrincipal & Partial<NewPrincipal & ManagedPrincipal>;

function show(made: Shown, json: boolean): void {
  if (json) {
    print(JSON.stringify(made));
    return;
  }
  print(`client id      ${made.clientId}`);
  if (made.clientSecret !== undefined) print(`client secret  ${made.clientSecret} (shown only now)`);
  print(`object id      ${made.objectId}`);
  if (made.identityHeader === undefined) return;
  print('for the environment of the program (shown only now):');
  print(`IDENTITY_ENDPOINT=${String(made.identityEndpoint)}`);
  print(`IDENTITY_HEADER=${made.identityHeader}`);
}
