// A whole fabric in this process, over fake instances, and a plain HTTPS client for its control port.
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import type { IncomingHttpHeaders } from 'node:http';
import { startFabric } from '../../../src/fabric/main.js';
import type { Fabric, FabricOptions } from '../../../src/fabric/main.js';
import type { FabricStatus } from '../../../src/fabric/control/management.js';
import { readAdmin } from '../../../src/fabric/pools/estate.js';
import type { AdminFile, Places } from '../../../src/fabric/pools/estate.js';
import { fakeModule, program } from './fake-pool.js';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The body as JSON; undefined when it is none. */
  readonly json: Readonly<Record<string, unknown>>;
}

export interface Asked {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** A client of a fabric, in this process or in another. */
export interface FabricAt {
  readonly status: FabricStatus;
  readonly admin: AdminFile;
  readonly ca: string;
  readonly port: number;
  readonly base: string;
  ask(path: string, asked?: Asked): Promise<Answer>;
  /** Logs in on the ADFS path. */
  login(form: Readonly<Record<string, string>>): Promise<Answer>;
  /** A token of the administrator, for the control plane unless said otherwise. */
  token(scope?: string): Promise<string>;
}

export interface StartedFabric extends FabricAt {
  readonly fabric: Fabric;
}

/** Starts one in `directory`; end it with `fabric.abandon()` or `fabric.stop()`. */
export async function startedFabric(
  directory: string,
  changes: Partial<FabricOptions> = {},
): Promise<StartedFabric> {
  const { module } = await fakeModule(directory);
  const fabric = await startFabric({
    dataDirectory: join(directory, 'data'),
    controlPort: 0,
    dataPort: 0,
    module,
    program,
    progress: () => undefined,
    ...changes,
  });
  return { fabric, ...fabricAt(fabric.status(), fabric.places) };
}

/** The client alone, for a fabric that is ready on a directory. */
export function fabricAt(status: FabricStatus, places: Places): FabricAt {
  const admin = readAdmin(places);
  if (!admin) throw new Error('no admin file');
  const ca = readFileSync(places.caFile, 'utf8');
  const base = status.controlPlane;
  const port = Number(new URL(base).port);
  const ask = (path: string, asked: Asked = {}): Promise<Answer> => askOn(port, ca, path, asked);
  const login = (form: Readonly<Record<string, string>>): Promise<Answer> =>
    ask('/adfs/oauth2/token', {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams(form).toString(),
    });
  const token = async (scope = `${base}/.default`): Promise<string> => {
    const { clientId, clientSecret } = admin;
    const form = {
      grant_type: 'client_credentials',
      client_id: clientId,
      client_secret: clientSecret,
      scope,
    };
    return String((await login(form)).json['access_token']);
  };
  return { status, admin, ca, port, base, ask, login, token };
}

function askOn(port: number, ca: string, path: string, asked: Asked): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host: '127.0.0.1',
        servername: 'localhost',
        port,
        ca,
        path,
        method: asked.method ?? 'GET',
        agent: false,
        headers: { Host: `localhost:${port}`, ...asked.headers },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json: parsed(text) });
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(asked.body);
  });
}

function parsed(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}
