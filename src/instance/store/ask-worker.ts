// A worker thread that answers one message after another: for what would hold up the event loop.
import type { Worker } from 'node:worker_threads';

/** What a worker posts: an answer, or why there is none. Errors of SQLite do not survive the way between threads. */
export type WorkerReply<A> = { readonly answer: A; readonly error?: undefined } | { readonly error: string };

interface Waiting<A> {
  readonly resolve: (answer: A) => void;
  readonly reject: (error: Error) => void;
}

export class AskedWorker<Q, A> {
  readonly #worker: Worker;
  readonly #exit: Promise<void>;
  #waiting: Waiting<A>[] = [];
  #ended: Error | undefined;

  constructor(worker: Worker, what: string) {
    this.#worker = worker;
    worker.on('message', (reply: WorkerReply<A>) => {
      const first = this.#waiting.shift();
      if (reply.error === undefined) first?.resolve(reply.answer);
      else first?.reject(new Error(`${what}: ${reply.error}`));
    });
    worker.on('error', (error) => this.#end(new Error(`${what}: ${error.message}`, { cause: error })));
    this.#exit = new Promise((resolve) => {
      worker.on('exit', () => {
        this.#end(new Error(`${what}: it was ended`));
        resolve();
      });
    });
  }

  /** The answer to what the worker does when it starts. */
  first(): Promise<A> {
    return this.#wait();
  }

  /** Rejects with what the worker says is wrong, and when it has ended. */
  ask(question: Q): Promise<A> {
    if (!this.#ended) this.#worker.postMessage(question);
    return this.#wait();
  }

  /** Ends it, whatever it is doing; resolves when it is gone. */
  async end(): Promise<void> {
    await this.#worker.terminate();
    await this.#exit;
  }

  #wait(): Promise<A> {
    return new Promise((resolve, reject) => {
      if (this.#ended) reject(this.#ended);
      else this.#waiting.push({ resolve, reject });
    });
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}
