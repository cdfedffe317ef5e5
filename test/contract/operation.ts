// What is asked of the keys API in one step, without anything that differs from run to run: versions are named by
// their place, ciphertexts by how they come about. A seed repeats a sequence of these.

export type Caller = 'admin' | 'user' | 'officer' | 'auditor' | 'wrapper' | 'guest';

/** A version by its place from the oldest, counted round; none named; one that never was; one that was purged. */
export type Which = number | 'newest' | 'unknown' | 'gone';

/** What a client wishes of a key's attributes. Times are seconds from now. */
export interface Wish {
  readonly enabled?: boolean;
  readonly nbf?: number;
  readonly exp?: number;
  readonly exportable?: boolean;
  readonly tags?: Readonly<Record<string, string>>;
  readonly ops?: readonly string[];
}

export type PolicyWish =
  | { readonly is: 'good'; readonly afterDays: number; readonly expiryDays?: number }
  | { readonly is: 'blank' }
  | { readonly is: 'bad'; readonly body: Readonly<Record<string, unknown>> };

interface OnKey {
  readonly caller: Caller;
  readonly name: string;
}

interface OnVersion extends OnKey {
  readonly version: Which;
}

/** Bytes are given as hex. */
export type Operation =
  | (OnKey & { readonly do: 'create'; readonly body: Readonly<Record<string, unknown>>; readonly wish: Wish })
  | (OnKey & {
      readonly do: 'import';
      readonly material: string;
      readonly flaw?: 'long' | 'half' | 'mixed' | 'type';
      readonly wish: Wish;
    })
  | (OnVersion & { readonly do: 'get' })
  | (OnVersion & { readonly do: 'update'; readonly wish: Wish })
  | (OnKey & {
      readonly do: 'delete' | 'getDeleted' | 'recover' | 'purge' | 'backup' | 'rotate' | 'getPolicy';
    })
  | (OnKey & { readonly do: 'setPolicy'; readonly policy: PolicyWish })
  | { readonly do: 'restore'; readonly caller: Caller; readonly backup: number; readonly damaged: boolean }
  | { readonly do: 'list' | 'listDeleted'; readonly caller: Caller; readonly limit?: number }
  | (OnKey & { readonly do: 'versions'; readonly limit?: number })
  | (OnVersion & {
      readonly do: 'sign';
      readonly alg: string;
      readonly message: string;
      readonly short?: boolean;
    })
  | (OnVersion & {
      readonly do: 'verify';
      readonly alg: string;
      readonly message: string;
      /** A signature that was made earlier, one made by Node, or bytes. */
      readonly from: 'kept' | 'node' | 'noise';
      readonly flaw?: 'signature' | 'digest' | 'length';
      readonly pick: number;
    })
  | (OnVersion & {
      readonly do: 'encrypt' | 'wrapkey';
      readonly alg: string;
      readonly text: string;
      readonly aad?: string;
      readonly iv?: string;
    })
  | (OnVersion & {
      readonly do: 'decrypt' | 'unwrapkey';
      readonly alg: string;
      /** Something sealed earlier by this version or another of its name, by Node, or bytes. */
      readonly from: 'kept' | 'other' | 'node' | 'noise';
      readonly text: string;
      readonly flaw?: 'value' | 'tag' | 'aad' | 'cut';
      readonly pick: number;
    })
  | { readonly do: 'random'; readonly caller: Caller; readonly count: number }
  | (OnKey & { readonly do: 'grant' | 'revoke' });

export type Verb = Operation['do'];

/** In the order in which the sections of the reference name them. */
export const LATER = ['backup', 'restore', 'rotate', 'getPolicy', 'setPolicy'] as const satisfies Verb[];
