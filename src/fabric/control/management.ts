// The fabric's own management interface, outside the namespace of Azure's control plane: `/trivet/...`. What the
// command line speaks. Every route is for administrators of the control plane only.
import express from 'express';
import type { Request, Router } from 'express';
import type { InstanceFigures } from '../../values/figures.js';
import type { Provider } from '../provider/provider.js';
import type { Subscription, SubscriptionState } from '../resources/state.js';
import { PoolError } from '../pools/pool-file.js';
import type { Pool, PoolDigest, PoolStatus } from '../pools/pool.js';
import { advanceClock, clockStatus } from './clock.js';
import type { ClockParts } from './clock.js';
import type { DirectoryPrincipal } from './directory.js';
import { ControlRefusal } from './errors.js';
import { changeFaults, clearFaults, faultsOf } from './faults.js';
import { meterStatus } from './meter.js';
import type { MeterParts } from './meter.js';

/** The document that `trivet status` shows; the owner's own credentials are added by who reads them from disk. */
export interface FabricStatus {
  readonly controlPlane: string;
  readonly authority: string;
  readonly tenantId: string;
  readonly subscriptionId: string;
  readonly resourceGroup: string;
  readonly caFile: string;
  /** The blob service that runs beside the pools; absent when there is none. */
  readonly storage?: { readonly uri: string; readonly account: string; readonly keyFile: string };
  readonly pools: readonly PoolStatus[];
}

/** What the instances count of their own work; without those that do not say so in time. */
export interface FabricFigures {
  readonly pools: readonly {
    readonly name: string;
    readonly instances: readonly { readonly instance: number; readonly figures: InstanceFigures }[];
  }[];
}

const FIGURES_PATIENCE_MS = 1_000;

/** What a new principal logs in with, if not with a secret of our making. */
export interface PrincipalKind {
  /** PEM. */
  readonly certificate?: string;
  readonly managedIdentity?: true;
}

export interface ManagementParts {
  readonly status: () => FabricStatus;
  /** Throws a {@link ControlRefusal} for a name that cannot be given. */
  readonly addPrincipal: (name: string, kind: PrincipalKind) => Promise<unknown>;
  readonly listPrincipals: () => readonly DirectoryPrincipal[];
  /** By name or id; these two throw a {@link ControlRefusal} for one that there is not. */
  readonly removePrincipal: (who: string) => Promise<unknown>;
  readonly resetPrincipal: (who: string) => Promise<unknown>;
  readonly pool: (name: string) => Pool | undefined;
  readonly clock: ClockParts;
  readonly meter: MeterParts;
  readonly provider: Provider;
}

export function managementRoutes(parts: ManagementParts): Router {
  const routes = express.Router();
  routes.use(express.json({ limit: '64kb' }));
  routes.get('/status', (_request, response) => {
    response.json(parts.status());
  });
  routes.post('/principals', async (request, response) => {
    const { name } = bodyOf(request);
    if (typeof name !== 'string') throw new ControlRefusal('BadRequest', 'The body must have a "name".');
    response.status(201).json(await parts.addPrincipal(name, kindIn(bodyOf(request))));
  });
  routes.get('/principals', (_request, response) => {
    response.json({ principals: parts.listPrincipals() });
  });
  routes.delete('/principals/:who', async (request, response) => {
    response.json(await parts.removePrincipal(request.params.who));
  });
  routes.post('/principals/:who/reset', async (request, response) => {
    response.json(await parts.resetPrincipal(request.params.who));
  });
  routes.post('/pools/:pool/partitions/:id/:fault', async (request, response) => {
    response.json(await inflict(parts, request));
  });
  routes.get('/pools/:pool/faults', (request, response) => {
    response.json(faultsOf(poolIn(parts, request)));
  });
  routes.put('/pools/:pool/faults', async (request, response) => {
    response.json(await changeFaults(poolIn(parts, request), request.body));
  });
  routes.delete('/pools/:pool/faults', async (request, response) => {
    response.json(await clearFaults(poolIn(parts, request)));
  });
  routes.post('/pools/:pool/restart', async (request, response) => {
    const pool = poolIn(parts, request);
    await orConflict(pool.restart());
    response.json(pool.status());
  });
  routes.post('/pools/:pool/digest', async (request, response) => {
    response.json((await orConflict(poolIn(parts, request).digest())) satisfies PoolDigest);
  });
  routes.get('/figures', async (_request, response) => {
    const pools = parts.status().pools.flatMap(({ name }) => parts.pool(name) ?? []);
    const said = pools.map(async (pool) => ({
      name: pool.name,
      instances: await pool.figures(FIGURES_PATIENCE_MS),
    }));
    response.json({ pools: await Promise.all(said) } satisfies FabricFigures);
  });
  routes.get('/meter', (_request, response) => {
    response.json(meterStatus(parts.meter));
  });
  routes.get('/clock', (_request, response) => {
    response.json(clockStatus(parts.clock));
  });
  routes.post('/clock/advance', async (request, response) => {
    response.json(await advanceClock(parts.clock, bodyOf(request)['duration']));
  });
  routes.get('/subscription', (_request, response) => {
    response.json(parts.provider.state.subscription satisfies Subscription);
  });
  routes.put('/subscription', async (request, response) => {
    const { state } = bodyOf(request);
    if (!isSubscriptionState(state)) {
      throw new ControlRefusal('BadRequest', 'The "state" of a subscription is Enabled, Disabled or Warned.');
    }
    const { subscription } = await parts.provider.act({ kind: 'SetSubscription', state });
    response.json(subscription satisfies Subscription);
  });
  return routes;
}

function isSubscriptionState(value: unknown): value is SubscriptionState {
  return value === 'Enabled' || value === 'Disabled' || value === 'Warned';
}

function kindIn({ certificate, managedIdentity = false }: Record<string, unknown>): PrincipalKind {
  if (certificate !== undefined && typeof certificate !== 'string') {
    throw new ControlRefusal('BadRequest', 'The "certificate" must be a text in PEM.');
  }
  if (typeof managedIdentity !== 'boolean' || (managedIdentity && certificate !== undefined)) {
    throw new ControlRefusal(
      'BadRequest',
      '"managedIdentity" is true or false, and false with a certificate.',
    );
  }
  if (managedIdentity) return { managedIdentity };
  return certificate === undefined ? {} : { certificate };
}

// Faults on request, for tests and drills.
async function inflict(
  parts: ManagementParts,
  request: Request,
): Promise<{ id: number; pid: number | null }> {
  const { id = '', fault = '' } = request.params as Record<string, string | undefined>;
  const pool = poolIn(parts, request);
  const instance = /^[0-9]$/.test(id) ? pool.instance(Number(id)) : undefined;
  if (!instance)
    throw new ControlRefusal('NotFound', `Pool ${pool.name} has no partition "${id}"; they are 0, 1 and 2.`);
  if (fault === 'wipe') return { id: instance.instance, pid: await orConflict(pool.wipe(instance.instance)) };
  if (fault === 'unplug')
    return { id: instance.instance, pid: await orConflict(pool.unplug(instance.instance)) };
  if (fault === 'replug') {
    const replugged = Promise.resolve().then(() => pool.replug(instance.instance));
    return { id: instance.instance, pid: await orConflict(replugged) };
  }
  const { pid } = instance;
  if (pid === undefined) {
    throw new ControlRefusal(
      'Conflict',
      `Partition ${id} is down: ${instance.reasonEnded ?? 'not started'}.`,
    );
  }
  switch (fault) {
    case 'kill':
      instance.kill();
      await instance.ended; // so that who asks for the status next sees it
      break;
    case 'pause':
      instance.pause();
      break;
    case 'resume':
      instance.resume();
      break;
    default:
      throw new ControlRefusal(
        'NotFound',
        'A partition can be told to kill, pause, resume, wipe, unplug or replug.',
      );
  }
  return { id: instance.instance, pid };
}

function poolIn(parts: ManagementParts, request: Request): Pool {
  const { pool: name = '' } = request.params as Record<string, string | undefined>;
  const pool = parts.pool(name.toLowerCase());
  if (!pool) throw new ControlRefusal('NotFound', `There is no pool "${name}".`);
  return pool;
}

// What a pool cannot do as it stands.
async function orConflict<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof PoolError)) throw error;
    const message = error.message.charAt(0).toUpperCase() + error.message.slice(1);
    throw new ControlRefusal('Conflict', `${message}.`);
  }
}

function bodyOf(request: Request): Record<string, unknown> {
  const body: unknown = request.body;
  if (typeof body === 'object' && body !== null && !Array.isArray(body))
    return body as Record<string, unknown>;
  throw new ControlRefusal('BadRequest', 'The body must be a JSON object.');
}
