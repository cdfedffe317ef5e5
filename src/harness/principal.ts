// Somebody who may ask a pool: credentials, tokens, and what the Azure SDKs want to be given. Plain objects; no package
// of Azure's is needed for them.
import type { Agent } from 'node:https';
import { ask, refusal, textIn } from './https.js';

/** What a client of the Azure SDKs takes as its last argument, and a credential of `@azure/identity` too. */
export interface ClientOptions {
  /** Trusts the pool's authorities, and finds the pool's name without any resolver. */
  readonly agent: Agent;
}

export interface CredentialOptions extends ClientOptions {
  readonly authorityHost: string;
  /** The local login is no cloud that Microsoft knows. */
  readonly disableInstanceDiscovery: true;
}

/** `TokenCredential` of the Azure SDKs. */
export interface Credential {
  getToken(scopes: string | readonly string[]): Promise<{ token: string; expiresOnTimestamp: number }>;
}

/** Where and how to log in. */
export interface Entrance {
  readonly controlPlane: string;
  readonly tenantId: string;
  readonly agent: Agent;
  readonly clientOptions: ClientOptions;
  readonly patienceMs: number;
  /** How often the clock was moved: tokens of before may be over. */
  readonly moves: () => number;
}

/** A token is used for so long, in milliseconds; the login makes them for an hour. */
const TOKEN_MS = 3_000_000;

export class Principal {
  readonly #entrance: Entrance;
  readonly #tokens = new Map<
    string,
    { readonly token: string; readonly endMs: number; readonly moves: number }
  >();

  constructor(
    entrance: Entrance,
    readonly name: string,
    readonly objectId: string,
    readonly clientId: string,
    readonly clientSecret: string,
  ) {
    this.#entrance = entrance;
  }

  get tenantId(): string {
    return this.#entrance.tenantId;
  }

  /** For the constructors of `@azure/keyvault-keys` and the like. */
  get clientOptions(): ClientOptions {
    return this.#entrance.clientOptions;
  }

  /** For `ClientSecretCredential` of `@azure/identity`. */
  get credentialOptions(): CredentialOptions {
    const { controlPlane, clientOptions } = this.#entrance;
    return { ...clientOptions, authorityHost: controlPlane, disableInstanceDiscovery: true };
  }

  /**
   * A credential for the constructors of the Azure SDKs. Its tokens are kept here, and asked for anew when the pool's
   * clock was moved; the SDKs are told not to keep them.
   */
  get credential(): Credential {
    return {
      getToken: async (scopes) => {
        const scope = typeof scopes === 'string' ? scopes : scopes.join(' ');
        return { token: await this.token(scope), expiresOnTimestamp: Date.now() };
      },
    };
  }

  /** An access token, such as for `https://managedhsm.localhost:{port}/.default`. */
  async token(scope: string): Promise<string> {
    const { controlPlane, tenantId, agent, patienceMs, moves } = this.#entrance;
    const known = this.#tokens.get(scope);
    if (known && known.moves === moves() && known.endMs > performance.now()) return known.token;
    const form = new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: this.clientId,
      client_secret: this.clientSecret,
      scope,
    });
    const asked = { url: new URL(`/${tenantId}/oauth2/v2.0/token`, controlPlane), method: 'POST' };
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
    const before = moves();
    const answer = await ask(agent, { ...asked, headers, body: form.toString() }, patienceMs);
    const token = textIn(answer.body, 'access_token');
    if (token === undefined) throw refusal(`${this.name} cannot log in`, answer);
    this.#tokens.set(scope, { token, endMs: performance.now() + TOKEN_MS, moves: before });
    return token;
  }
}
