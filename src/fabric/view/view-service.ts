// The authority over a pool's view. `ViewService` is what the fabric needs of one; the local one keeps the view in a
// file. One that keeps it elsewhere is made by an asynchronous function of its own, which reads the newest view before
// anything starts, and may take its time to write: nobody is told of a view that is not kept.
import { readFileSync } from 'node:fs';
import { writeDurably } from '../../values/durable-file.js';
import type { Member, View } from '../../values/view.js';
import { TICK_MS, newKeeper, step } from './view-keeper.js';
import type { ViewAction, ViewEvent, ViewKeeper } from './view-keeper.js';

/** What others may tell the service; the rest it tells itself. */
export type HeardEvent = Exclude<ViewEvent, { kind: 'written' | 'unwritten' | 'tick' }>;

/** What the service wants done. Called at any time, and must not throw. */
export interface ViewOrders {
  announce(view: View, to: readonly number[]): void;
  /** Grants the lease that was asked for at `asked`. */
  grant(instance: number, asked: number, epoch: number): void;
  decline(instance: number, epoch: number, member: Member): void;
  kill(instance: number, reason: string): void;
  /** The pool must not go on; said once. */
  refuse(reason: string): void;
  /** A view could not be kept, and is tried again; said once in a row. */
  troubled(reason: string): void;
}

export interface ViewService {
  /** The newest view that is kept; undefined in a new pool. */
  readonly view: View | undefined;
  /** From now on orders are given. */
  start(orders: ViewOrders): void;
  hear(event: HeardEvent): void;
  /** Orders nothing any more and leaves the view as it is. */
  stop(): void;
}

/** A view that cannot be read; the message names the file. */
export class ViewError extends Error {
  override readonly name = 'ViewError';
}

export class LocalViewService implements ViewService {
  readonly #file: string;
  #keeper: ViewKeeper;
  #orders: ViewOrders | undefined;
  #timer: NodeJS.Timeout | undefined;
  #troubled = false;

  /** Throws a {@link ViewError} when `file` exists and holds no view. */
  constructor(file: string) {
    this.#file = file;
    this.#keeper = newKeeper(readView(file), performance.now());
  }

  get view(): View | undefined {
    return this.#keeper.view;
  }

  start(orders: ViewOrders): void {
    this.#orders = orders;
    this.#timer = setInterval(() => this.#take({ kind: 'tick' }), TICK_MS);
    this.#timer.unref();
  }

  hear(event: HeardEvent): void {
    this.#take(event);
  }

  stop(): void {
    this.#orders = undefined;
    clearInterval(this.#timer);
  }

  #take(event: ViewEvent): void {
    if (!this.#orders) return;
    // The time at which we look, not that of the timer: performance.now() goes on while the process is stopped.
    const { keeper, actions } = step(this.#keeper, event, performance.now());
    this.#keeper = keeper;
    for (const action of actions) this.#carryOut(action);
  }

  #carryOut(action: ViewAction): void {
    const orders = this.#orders;
    if (!orders) return;
    switch (action.kind) {
      case 'write':
        this.#take(this.#write(action.view, orders));
        return;
      case 'announce':
        orders.announce(action.view, action.to);
        return;
      case 'grant':
        orders.grant(action.instance, action.asked, action.epoch);
        return;
      case 'decline':
        orders.decline(action.instance, action.epoch, action.member);
        return;
      case 'kill':
        orders.kill(action.instance, action.reason);
        return;
      case 'refuse':
        orders.refuse(action.reason);
        return;
    }
  }

  #write(view: View, orders: ViewOrders): ViewEvent {
    try {
      writeDurably(this.#file, `${JSON.stringify(view)}\n`, 0o600);
      this.#troubled = false;
      return { kind: 'written', view };
    } catch (cause) {
      if (!this.#troubled) orders.troubled(`${this.#file} cannot be written: ${String(cause)}`);
      this.#troubled = true;
      return { kind: 'unwritten' };
    }
  }
}

function readView(file: string): View | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new ViewError(`${file} cannot be read: ${String(cause)}`, { cause });
  }
  const view = parse(text);
  if (!isView(view)) throw new ViewError(`${file} holds no view; bring back the newest copy of it`);
  return view;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // what it then is, the caller says
  }
}

function isView(value: unknown): value is View {
  if (typeof value !== 'object' || value === null) return false;
  const { epoch, primary, inSync } = value as Record<string, unknown>;
  if (!Number.isSafeInteger(epoch) || (epoch as number) < 1 || !Array.isArray(inSync)) return false;
  return inSync.every(isMemberShape) && inSync.some(({ instance }) => instance === primary);
}

function isMemberShape(value: unknown): value is Member {
  if (typeof value !== 'object' || value === null) return false;
  const { instance, store } = value as Record<string, unknown>;
  return [0, 1, 2].includes(instance as number) && typeof store === 'string';
}
