// A container of an Azure blob service, through the service's own library. Only the one host that the pool allows is
// ever asked, over TLS: this is where requests go out, so a redirection or anything else the library does is caught
// here. What it throws holds neither the token nor a URL with it.
import { createRequire } from 'node:module';
import { Agent, request } from 'node:https';
import type { IncomingMessage } from 'node:http';
import type {
  ContainerClient,
  HttpOperationResponse,
  IHttpClient,
  RestError,
  WebResource,
} from '@azure/storage-blob';
import type { StorageHost } from '../../../values/messages.js';
import { JobFailure } from './failure.js';

/** How long a storage may keep silent. */
const SILENCE_MS = 20_000;
/** Tries of each request, the first one included, and the longest wait between two. */
const TRIES = 5;
const RETRY_MS_MIN = 250;
const RETRY_MS_MAX = 4_000;
/** A word after which the library tries again. */
const SEND_ERROR = 'REQUEST_SEND_ERROR';
/** Answers that are not data are short. */
const TEXT_BYTES_MAX = 1024 * 1024;

export interface Container {
  /** In place of whatever has that name. */
  put(name: string, bytes: Uint8Array): Promise<void>;
  /** False when there is a blob of that name, which stays as it is. */
  putNew(name: string, bytes: Uint8Array): Promise<boolean>;
  /** Undefined when there is no such blob. @param bytesMax more than it may have. */
  get(name: string, bytesMax: number): Promise<Buffer | undefined>;
  remove(name: string): Promise<void>;
  /** Gives up the connections. */
  close(): void;
}

export interface ContainerAddress {
  /** Without a query. */
  readonly url: string;
  /** SAS, with or without a question mark before it. */
  readonly token: string;
  readonly host: StorageHost;
}

/** Names are of blobs in the container. Asks nothing yet. */
export function openContainer({ url, token, host }: ContainerAddress): Container {
  // Heavy, and needed by few: an instance that makes no backup does not load it.
  const library = createRequire(__filename)('./storage-library.js') as typeof import('./storage-library.js');
  const client = new HostClient(host, library.RestError);
  const pipeline = library.newPipeline(new library.AnonymousCredential(), {
    httpClient: client,
    retryOptions: { maxTries: TRIES, retryDelayInMs: RETRY_MS_MIN, maxRetryDelayInMs: RETRY_MS_MAX },
  });
  const container: ContainerClient = new library.ContainerClient(
    `${url}?${token.replace(/^\?/, '')}`,
    pipeline,
  );
  const put = async (name: string, bytes: Uint8Array, onlyNew: boolean): Promise<boolean> => {
    try {
      const conditions = onlyNew ? { conditions: { ifNoneMatch: '*' } } : {};
      const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength); // no copy
      await container.getBlockBlobClient(name).upload(body, body.length, conditions);
      return true;
    } catch (error) {
      if (onlyNew && codeOf(error) === 'BlobAlreadyExists') return false;
      throw failureOf(error, client.refused);
    }
  };
  return {
    put: async (name, bytes) => {
      await put(name, bytes, false);
    },
    putNew: (name, bytes) => put(name, bytes, true),
    get: async (name, bytesMax) => {
      try {
        const { readableStreamBody } = await container
          .getBlobClient(name)
          .download(0, undefined, { maxRetryRequests: TRIES - 1 });
        return await collected(readableStreamBody as AsyncIterable<Buffer>, bytesMax);
      } catch (error) {
        if (codeOf(error) === 'BlobNotFound') return undefined;
        throw failureOf(error, client.refused);
      }
    },
    remove: async (name) => {
      try {
        await container.getBlobClient(name).deleteIfExists();
      } catch (error) {
        throw failureOf(error, client.refused);
      }
    },
    close: () => client.close(),
  };
}

async function collected(stream: AsyncIterable<Buffer>, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    if (size > bytesMax)
      throw new JobFailure('BackupCorrupt', 'A blob of the backup is longer than it was written');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Sends requests to one host and to no other. */
class HostClient implements IHttpClient {
  readonly #host: StorageHost;
  readonly #agent: Agent;
  /** The library asked for another host. */
  refused = false;
  readonly #Failure: typeof RestError;

  /** @param Failure what the library takes for a failure of the network, and tries again after. */
  constructor(host: StorageHost, Failure: typeof RestError) {
    this.#host = host;
    this.#Failure = Failure;
    this.#agent = new Agent({
      keepAlive: true,
      maxSockets: 2,
      ...(host.ca === undefined ? {} : { ca: host.ca }),
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  async sendRequest(resource: WebResource): Promise<HttpOperationResponse> {
    const url = new URL(resource.url);
    if (hostOf(url) !== this.#host.host) {
      this.refused = true;
      throw new Error('another host than the one that is allowed');
    }
    const response = await this.#send(url, resource);
    const headers = resource.headers.clone();
    for (const name of headers.headerNames()) headers.remove(name);
    for (const [name, value] of Object.entries(response.headers)) {
      if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(', ') : value);
    }
    const status = response.statusCode ?? 0;
    const common = { request: resource, status, headers };
    if (resource.streamResponseStatusCodes?.has(status)) return { ...common, readableStreamBody: response };
    const bodyAsText = (await collected(response, TEXT_BYTES_MAX)).toString('utf8');
    return { ...common, bodyAsText };
  }

  #send(url: URL, { method, headers, body, abortSignal }: WebResource): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const outgoing = request(
        url,
        { method, headers: headers.rawHeaders(), agent: this.#agent, timeout: SILENCE_MS },
        resolve,
      );
      outgoing.on('timeout', () =>
        outgoing.destroy(Object.assign(new Error('the storage keeps silent'), { code: 'ETIMEDOUT' })),
      );
      outgoing.on('error', ({ code = SEND_ERROR }: NodeJS.ErrnoException) =>
        reject(new this.#Failure(SEND_ERROR, { code })),
      );
      abortSignal?.addEventListener('abort', () => outgoing.destroy());
      if (body === undefined || body === null) outgoing.end();
      else if (typeof body === 'string' || Buffer.isBuffer(body)) outgoing.end(body);
      else outgoing.destroy(new Error('a body that is never sent'));
    });
  }
}

/** `name:port` of a URL, the port always named. */
export function hostOf({ protocol, hostname, port }: URL): string | undefined {
  if (protocol !== 'https:') return undefined;
  return `${hostname.toLowerCase()}:${port === '' ? '443' : port}`;
}

function codeOf(error: unknown): string | undefined {
  const { code, details } = error as { code?: unknown; details?: { errorCode?: unknown } };
  if (typeof details?.errorCode === 'string') return details.errorCode;
  return typeof code === 'string' ? code : undefined;
}

// The library's errors carry the request, and with it the token: nothing of them is passed on but codes.
function failureOf(error: unknown, refused: boolean): JobFailure {
  if (error instanceof JobFailure) return error;
  if (refused)
    return new JobFailure('StorageForbidden', 'The storage sent us to another host, which is not allowed');
  const { statusCode } = error as { statusCode?: unknown };
  const code = codeOf(error) ?? 'unknown';
  const said = /^[A-Za-z0-9_]{1,64}$/.test(code) ? code : 'unknown';
  if (typeof statusCode !== 'number' || statusCode === 0) {
    return new JobFailure('StorageUnreachable', `The storage cannot be reached, or broke off: ${said}`);
  }
  if (statusCode === 401 || statusCode === 403) {
    return new JobFailure(
      'StorageForbidden',
      `The storage refused the SAS token (${said}): it is not valid, has ended, or lacks a permission`,
    );
  }
  if (statusCode === 404)
    return new JobFailure('StorageNotFound', `The storage has no such container (${said})`);
  return new JobFailure('StorageFailed', `The storage answered ${statusCode} (${said})`);
}
