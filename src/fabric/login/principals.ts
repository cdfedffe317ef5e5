// Who may log in: service principals with a secret each, of which only a slow hash is kept, or with a certificate, of
// which only the public half was ever here; and managed identities, whose secret is in the environment of a program.
// Says who somebody is and whether she administers the control plane; roles in a pool are the pool's own business.
import { X509Certificate, randomBytes, scrypt } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { equalBytes } from '../../values/bytes.js';
import { newUuid } from '../../values/ids.js';
import { writeDurably } from '../../values/durable-file.js';

export interface Principal {
  readonly name: string;
  readonly clientId: string;
  readonly objectId: string;
  /** May use the control plane and the fabric's own management. */
  readonly controlPlane: boolean;
  /** Gets its tokens as a managed identity, and in no other way. */
  readonly managed?: true;
}

/** The only time that a secret is seen. */
export interface NewPrincipal {
  readonly clientId: string;
  readonly clientSecret: string;
  readonly objectId: string;
}

/** A principal that logs in with what its certificate's key signs. */
export type CertifiedPrincipal = Omit<NewPrincipal, 'clientSecret'>;

/** A managed identity: what the program has in its environment; the header only this once. */
export interface ManagedPrincipal extends CertifiedPrincipal {
  readonly identityEndpoint: string;
  readonly identityHeader: string;
}

interface SecretHash {
  readonly salt: string;
  readonly hash: string;
}

type StoredPrincipal = Principal & {
  readonly secret?: SecretHash;
  /** DER in base64. */
  readonly certificate?: string;
};

/** What cannot be done with a principal; the message says why. */
export class PrincipalError extends Error {
  override readonly name = 'PrincipalError';
  constructor(
    readonly code:
      'InvalidName' | 'InvalidCertificate' | 'NameTaken' | 'TooMany' | 'Unknown' | 'LastAdministrator',
    message: string,
  ) {
    super(message);
  }
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._ -]{0,63}$/;
const PRINCIPALS_MAX = 10_000;
// Secrets are 256 random bits, so the hash need not slow guessing down; this is what guidelines ask for passwords.
const COST = { N: 16_384, r: 8, p: 1 };
const HASH_BYTES = 32;
const RSA_MIN = 2_048;
const RSA_MAX = 8_192;

export class Principals {
  readonly #file: string;
  #all: readonly StoredPrincipal[];

  constructor(file: string) {
    this.#file = file;
    this.#all = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as StoredPrincipal[]) : [];
  }

  get empty(): boolean {
    return this.#all.length === 0;
  }

  byClientId(clientId: string): Principal | undefined {
    const wanted = clientId.toLowerCase();
    return this.#all.find((principal) => principal.clientId === wanted);
  }

  byObjectId(objectId: string): Principal | undefined {
    return this.#all.find((principal) => principal.objectId === objectId);
  }

  /** In the order in which they were added. */
  list(): Principal[] {
    return this.#all.map(({ name, clientId, objectId, controlPlane, managed }) => ({
      name,
      clientId,
      objectId,
      controlPlane,
      ...(managed && { managed }),
    }));
  }

  /** By name, object id or client id. */
  find(who: string): Principal | undefined {
    const id = who.toLowerCase();
    return this.list().find(
      ({ name, clientId, objectId }) => name === who || objectId === id || clientId === id,
    );
  }

  /** Nobody can log in as this principal any more; durable when it returns. */
  remove(who: string): Principal {
    const principal = this.#known(who);
    if (principal.controlPlane && this.#all.filter(({ controlPlane }) => controlPlane).length === 1) {
      throw new PrincipalError(
        'LastAdministrator',
        `"${principal.name}" is the only administrator of the control plane and cannot be removed`,
      );
    }
    this.#write(this.#all.filter(({ objectId }) => objectId !== principal.objectId));
    return principal;
  }

  /**
   * Gives a principal a new secret; what it logged in with before is void at once, a certificate too. `before` is told
   * the credentials before anything changes, to write them down where they are kept.
   */
  async reset(
    who: string,
    before: (credentials: NewPrincipal) => void = () => undefined,
  ): Promise<NewPrincipal> {
    const { clientId, objectId } = this.#known(who);
    const made = { clientId, clientSecret: newSecret(), objectId };
    const secret = await hashSecret(made.clientSecret);
    this.#known(objectId); // may have been removed meanwhile
    before(made);
    this.#write(
      this.#all.map(({ certificate, ...other }) =>
        other.objectId === objectId
          ? { ...other, secret }
          : { ...other, ...(certificate !== undefined && { certificate }) },
      ),
    );
    return made;
  }

  #known(who: string): Principal {
    const found = this.find(who);
    if (found) return found;
    throw new PrincipalError('Unknown', `there is no principal "${who}"`);
  }

  #write(all: readonly StoredPrincipal[]): void {
    writeDurably(this.#file, `${JSON.stringify(all, null, 2)}\n`, 0o600);
    this.#all = all;
  }

  /** Adds a principal with an id and secret of our making. */
  async add(name: string): Promise<NewPrincipal> {
    const made = newCredentials();
    await this.register(name, made, false);
    return made;
  }

  /** Adds a managed identity with an id and secret of our making. */
  async addManaged(name: string): Promise<NewPrincipal> {
    checkName(name);
    const made = newCredentials();
    const { clientId, clientSecret, objectId } = made;
    const secret = await hashSecret(clientSecret);
    this.#insert({ name, clientId, objectId, controlPlane: false, managed: true, secret });
    return made;
  }

  /** Adds a principal with ids of our making that logs in with this certificate (PEM). */
  addCertified(name: string, pem: string): CertifiedPrincipal {
    checkName(name);
    const certificate = certificateIn(pem).raw.toString('base64');
    const ids = { clientId: newUuid(), objectId: newUuid() };
    this.#insert({ name, ...ids, controlPlane: false, certificate });
    return ids;
  }

  /** Adds a principal with known credentials; durable when it returns. */
  async register(name: string, credentials: NewPrincipal, controlPlane: boolean): Promise<void> {
    checkName(name);
    const secret = await hashSecret(credentials.clientSecret);
    const { clientId, objectId } = credentials;
    this.#insert({ name, clientId, objectId, controlPlane, secret });
  }

  /** The certificate with whose key the principal logs in; undefined for one with a secret. */
  certificateOf({ clientId }: Principal): X509Certificate | undefined {
    const stored = this.#all.find((other) => other.clientId === clientId)?.certificate;
    return stored === undefined ? undefined : new X509Certificate(Buffer.from(stored, 'base64'));
  }

  // Checked here, after any wait, so that two requests for one name cannot both find it free.
  #insert(principal: StoredPrincipal): void {
    const { name } = principal;
    if (this.#all.some((other) => other.name === name)) {
      throw new PrincipalError('NameTaken', `there is already a principal named "${name}"`);
    }
    if (this.#all.length >= PRINCIPALS_MAX) {
      throw new PrincipalError('TooMany', `there are already ${PRINCIPALS_MAX} principals`);
    }
    this.#write([...this.#all, principal]);
  }

  async verify({ clientId }: Principal, secret: string): Promise<boolean> {
    const hashOf = () => this.#all.find((other) => other.clientId === clientId)?.secret;
    const stored = hashOf();
    if (!stored) return false;
    const hash = await derive(secret, Buffer.from(stored.salt, 'base64'));
    // Removed or reset while the hash was made: what was right then is void now.
    return equalBytes(hash, Buffer.from(stored.hash, 'base64')) && hashOf() === stored;
  }
}

export function newCredentials(): NewPrincipal {
  return {
    clientId: newUuid(),
    clientSecret: newSecret(),
    objectId: newUuid(),
  };
}

function checkName(name: string): void {
  if (NAME.test(name)) return;
  throw new PrincipalError(
    'InvalidName',
    'a name has 1 to 64 letters, digits, spaces, dots, hyphens or underscores and begins with a letter or digit',
  );
}

/** A certificate whose key is fit to sign with. Its issuer does not matter: it is registered for itself. */
function certificateIn(pem: string): X509Certificate {
  const bad = (problem: string) => new PrincipalError('InvalidCertificate', problem);
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(pem);
  } catch {
    throw bad('the certificate must be one in PEM');
  }
  const { asymmetricKeyType, asymmetricKeyDetails } = certificate.publicKey;
  const { modulusLength = 0, namedCurve } = asymmetricKeyDetails ?? {};
  const fit =
    (asymmetricKeyType === 'rsa' && modulusLength >= RSA_MIN && modulusLength <= RSA_MAX) ||
    (asymmetricKeyType === 'ec' && namedCurve === 'prime256v1');
  if (!fit)
    throw bad(`the certificate must have an RSA key of ${RSA_MIN} to ${RSA_MAX} bits or one on P-256`);
  return certificate;
}

function newSecret(): string {
  return randomBytes(32).toString('base64url');
}

async function hashSecret(secret: string): Promise<SecretHash> {
  const salt = randomBytes(16);
  const hash = await derive(secret, salt);
  return { salt: salt.toString('base64'), hash: hash.toString('base64') };
}

function derive(secret: string, salt: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(secret, salt, HASH_BYTES, COST, (error, key) => {
      if (error) reject(error);
      else resolve(key);
    });
  });
}
