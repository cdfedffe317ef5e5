// `trivet principal list`.
import type { Principal } from '../../fabric/login/principals.js';
import { connect, print, type FabricClient } from '../ask.js';

export async function listPrincipals(dataDirectory: string, json: boolean): Promise<void> {
  const all = await principalsOf(await connect(dataDirectory));
  if (json) {
    print(JSON.stringify(all));
    return;
  }
  const width = Math.max(...all.map(({ name }) => name.length));
  for (const { name, clientId, objectId, controlPlane, managed } of all) {
    const what =
      (controlPlane ? ', administrator of the control plane' : '') + (managed ? ', managed identity' : '');
    print(`${name.padEnd(width)}  client id ${clientId}, object id ${objectId}${what}`);
  }
}

/** All of them, in the order in which they were added. */
export async function principalsOf(fabric: FabricClient): Promise<readonly Principal[]> {
  return ((await fabric.call('GET', '/trivet/principals')) as { principals: readonly Principal[] })
    .principals;
}
