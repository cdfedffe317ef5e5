// Who is signed in: two access tokens of the local login, as any client gets them, in this page's memory and nowhere
// else. Gone with the tab. Sends them to this page's own origin, and to nobody else.

export interface Session {
  readonly clientId: string;
  /** For the control plane. */
  readonly control: string;
  /** For the pools; undefined when the login gives none. */
  readonly data: string | undefined;
  /** Why there is none. */
  readonly dataProblem: string | undefined;
  /** When the first of them ends, in milliseconds since 1970. */
  readonly until: number;
}

/** The service said no. */
export class Refused extends Error {
  override readonly name = 'Refused';
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** Nobody answered. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';
  constructor() {
    super('The fabric does not answer. It may have been stopped; this page goes on when it is there again.');
  }
}

const CONTROL = 'https://management.azure.com/.default';
const DATA = 'https://managedhsm.azure.net/.default';
const PATIENCE_MS = 15_000;

/** Throws a {@link Refused} for wrong credentials. */
export async function signIn(clientId: string, clientSecret: string): Promise<Session> {
  const [control, data] = await Promise.all([
    tokenFor(CONTROL, clientId, clientSecret),
    tokenFor(DATA, clientId, clientSecret).catch((error: unknown) => {
      if (error instanceof Refused && error.status === 400) return error;
      throw error;
    }),
  ]);
  const both = data instanceof Refused ? { token: undefined, until: Infinity } : data;
  return {
    clientId,
    control: control.token,
    data: both.token,
    dataProblem: data instanceof Refused ? data.message : undefined,
    until: Math.min(control.until, both.until),
  };
}

interface Token {
  readonly token: string;
  readonly until: number;
}

async function tokenFor(scope: string, clientId: string, clientSecret: string): Promise<Token> {
  const asked = Date.now();
  const response = await send('/adfs/oauth2/token', {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: clientId,
      client_secret: clientSecret,
      scope,
    }),
  });
  const said = (await bodyOf(response)) as {
    access_token?: string;
    expires_in?: number;
    error_description?: string;
  };
  if (response.ok && said.access_token !== undefined) {
    return { token: said.access_token, until: asked + (said.expires_in ?? 0) * 1_000 };
  }
  const words = (said.error_description ?? `The login answered ${response.status}.`)
    .replace(/^AADSTS[0-9]+: /, '')
    .replace(/ Trace ID: .*$/s, '');
  throw new Refused(response.status, words);
}

/** What the control plane answers at this path. */
export function askControl<T>(session: Session, path: string, method = 'GET'): Promise<T> {
  return ask(path, session.control, method) as Promise<T>;
}

/** What a pool answers at this path of its own, passed on by the fabric; undefined for what is not there. */
export function askPool<T>(session: Session, pool: string, path: string): Promise<T> {
  if (session.data === undefined) {
    return Promise.reject(new Refused(403, session.dataProblem ?? 'There is no token for pools.'));
  }
  return ask(`/console/pools/${encodeURIComponent(pool)}/data/${path}`, session.data, 'GET') as Promise<T>;
}

async function ask(path: string, token: string, method: string): Promise<unknown> {
  const response = await send(path, { method, headers: { Authorization: `Bearer ${token}` } });
  const body = await bodyOf(response);
  if (response.ok) return body;
  const { error } = (body ?? {}) as { error?: { message?: string } };
  const words = (error?.message ?? `The answer was ${response.status}.`).replace(
    /\s*\(Activity ID: [^)]*\)/,
    '',
  );
  throw new Refused(response.status, words);
}

async function send(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(path, {
      ...init,
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      referrerPolicy: 'no-referrer',
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch {
    throw new Unreachable();
  }
}

async function bodyOf(response: Response): Promise<unknown> {
  try {
    return (await response.json()) as unknown;
  } catch {
    return undefined;
  }
}
