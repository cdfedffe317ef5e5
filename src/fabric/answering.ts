// The heavy half of putting the fabric together (web framework, tokens, certificates, log); loaded while instances
// start. Part of main.ts in everything but time.
import { existsSync, readFileSync } from 'node:fs';
import pino from 'pino';
import type { Logger } from 'pino';
import type { Answer } from './control/control-port.js';
import type { ClockParts } from './control/clock.js';
import { controlLeaf, newAuthority } from './control/authority.js';
import type { KeyAndCertificate } from './control/authority.js';
import { keysRoutes } from './control/arm/keys.js';
import { ControlRefusal } from './control/errors.js';
import { controlRoutes, hostBase } from './control/routes.js';
import type { Caller } from './control/routes.js';
import type { FabricStatus, PrincipalKind } from './control/management.js';
import type { MeterParts } from './control/meter.js';
import type { LoginKey } from './login/login-key.js';
import { endpointOf } from './login/managed-identity.js';
import { PrincipalError } from './login/principals.js';
import type { ManagedPrincipal, NewPrincipal, Principals } from './login/principals.js';
import { resourcesOf } from './login/resources.js';
import { loginRoutes } from './login/routes.js';
import { callerOf } from './login/token.js';
import type { Seconds } from '../values/moments.js';
import { writeDurably } from '../values/durable-file.js';
import { openMetricsToken, prepareAdmin, readAdmin, settleAdmin } from './pools/estate.js';
import type { Estate, Places } from './pools/estate.js';
import type { Provider } from './provider/provider.js';

export interface AnsweringParts {
  readonly estate: Estate;
  readonly login: LoginKey;
  readonly principals: Principals;
  readonly controlPort: number;
  readonly dataPort: number;
  readonly domain: string;
  /** Some pool believes this login. */
  readonly localLogin: boolean;
  readonly places: Places;
  readonly status: () => FabricStatus;
  readonly clock: ClockParts;
  readonly meter: MeterParts;
  readonly provider: Provider;
  readonly log: Logger;
}

/** The fabric's log: JSON lines on standard error, beside the instances' own. */
export function openLog(): Logger {
  return pino({ name: 'fabric', base: { pid: process.pid } }, pino.destination({ fd: 2, sync: true }));
}

/** What the control port shows, and the certificate that clients check it with. */
export async function controlIdentity(
  places: Places,
  domain: string,
): Promise<{ leaf: KeyAndCertificate; authority: string }> {
  const authority = await openAuthority(places, domain);
  return { leaf: await controlLeaf(authority), authority: authority.certificate };
}

// The fabric's certificate authority, made on an empty directory.
async function openAuthority(places: Places, domain: string): Promise<KeyAndCertificate> {
  const [keyFile, certificateFile] = [places.own('ca-key.pem'), places.own('ca.pem')];
  if (existsSync(keyFile) && existsSync(certificateFile)) {
    return { key: readFileSync(keyFile, 'utf8'), certificate: readFileSync(certificateFile, 'utf8') };
  }
  const made = await newAuthority(domain);
  writeDurably(keyFile, made.key, 0o600);
  writeDurably(certificateFile, made.certificate);
  return made;
}

/** What answers on the control port. */
export function controlAnswer(parts: AnsweringParts): Answer {
  const {
    estate,
    login: key,
    principals,
    controlPort,
    dataPort,
    domain,
    localLogin,
    places,
    clock,
    log,
  } = parts;
  const now = (): Seconds => clock.clock.now();
  const baseOf = hostBase(controlPort);
  const resources = resourcesOf(controlPort, localLogin ? domain : undefined);
  const identify = async (token: string): Promise<Caller | undefined> => {
    const objectId = await callerOf(key, estate.tenantId, resources.controlPlane, token, now());
    const principal = objectId === undefined ? undefined : principals.byObjectId(objectId);
    return principal && { objectId: principal.objectId, administrator: principal.controlPlane };
  };
  const base = `https://localhost:${controlPort}`;
  const shown = (made: NewPrincipal): NewPrincipal | ManagedPrincipal => {
    const { clientId, objectId, clientSecret } = made;
    if (!principals.byClientId(clientId)?.managed) return made;
    return { clientId, objectId, identityEndpoint: endpointOf(base, made), identityHeader: clientSecret };
  };
  const addPrincipal = reworded(async (name: string, kind: PrincipalKind) => {
    const added =
      kind.certificate !== undefined
        ? principals.addCertified(name, kind.certificate)
        : shown(await (kind.managedIdentity ? principals.addManaged(name) : principals.add(name)));
    log.info({ principal: name, objectId: added.objectId }, 'principal added');
    return added;
  });
  const removePrincipal = reworded((who: string) => {
    const removed = principals.remove(who);
    log.info({ principal: removed.name, objectId: removed.objectId }, 'principal removed');
    return removed;
  });
  const resetPrincipal = reworded(async (who: string) => {
    const isAdmin = principals.find(who)?.objectId === readAdmin(places)?.objectId;
    const made = await principals.reset(who, isAdmin ? (admin) => prepareAdmin(places, admin) : undefined);
    if (isAdmin) settleAdmin(places);
    log.info({ objectId: made.objectId }, 'secret of a principal reset');
    return shown(made);
  });
  return controlRoutes({
    ...estate,
    domain,
    dataPort,
    baseOf,
    login: loginRoutes({ tenantId: estate.tenantId, key, principals, resources, baseOf, now }),
    identify,
    management: {
      status: parts.status,
      addPrincipal,
      listPrincipals: () => principals.list(),
      removePrincipal,
      resetPrincipal,
      pool: (name) => parts.provider.pool(name),
      clock,
      meter: parts.meter,
      provider: parts.provider,
    },
    provider: parts.provider,
    keys: keysRoutes(baseOf),
    monitoring: { token: openMetricsToken(places), pools: () => clock.pools() },
    report: (error) => log.error({ err: error }, 'control plane failed'),
  });
}

const REFUSAL_OF = {
  InvalidName: 'BadRequest',
  InvalidCertificate: 'BadRequest',
  TooMany: 'BadRequest',
  NameTaken: 'Conflict',
  LastAdministrator: 'Conflict',
  Unknown: 'NotFound',
} as const satisfies Record<PrincipalError['code'], ControlRefusal['code']>;

function reworded<A extends unknown[], T>(act: (...args: A) => T | Promise<T>): (...args: A) => Promise<T> {
  return async (...args) => {
    try {
      return await act(...args);
    } catch (error) {
      if (!(error instanceof PrincipalError)) throw error;
      throw new ControlRefusal(REFUSAL_OF[error.code], error.message);
    }
  };
}
