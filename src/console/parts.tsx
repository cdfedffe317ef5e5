// Small parts that several views are made of.
import { useCallback, useEffect, useState } from 'preact/hooks';
import type { ComponentChildren, VNode } from 'preact';
import { Refused, Unreachable } from './session.js';

/** What somebody should know, where it matters. */
export function Notice(props: {
  kind: 'problem' | 'hint' | 'good';
  title?: string;
  children?: ComponentChildren;
}): VNode {
  const { kind, title, children } = props;
  const mark = { problem: '!', hint: 'i', good: '✓' }[kind];
  return (
    <div class={`notice ${kind}`} role={kind === 'problem' ? 'alert' : undefined}>
      <span class="mark" aria-hidden="true">
        {mark}
      </span>
      <div>
        {title !== undefined && <strong>{title}</strong>}
        {children}
      </div>
    </div>
  );
}

/** What came of a request that is made when a view is opened, and again on demand. */
export interface Asked<T> {
  readonly value: T | undefined;
  readonly problem: Error | undefined;
  readonly busy: boolean;
  readonly again: () => void;
}

/** Asks when `about` changes; what was there stays until the new answer comes, unless it is about something else. */
export function useAsked<T>(ask: () => Promise<T>, about: readonly unknown[]): Asked<T> {
  const [turn, setTurn] = useState(0);
  const [state, setState] = useState<{ value?: T; problem?: Error; busy: boolean }>({ busy: true });
  useEffect(() => setState({ busy: true }), about);
  useEffect(() => {
    let left = false;
    setState(({ value }) => ({ ...(value !== undefined && { value }), busy: true }));
    ask().then(
      (value) => {
        if (!left) setState({ value, busy: false });
      },
      (error: unknown) => {
        if (!left)
          setState({ problem: error instanceof Error ? error : new Error(String(error)), busy: false });
      },
    );
    return () => {
      left = true;
    };
  }, [...about, turn]);
  const again = useCallback(() => setTurn((before) => before + 1), []);
  return { value: state.value, problem: state.problem, busy: state.busy, again };
}

/** What went wrong, and what can be done about it. */
export function Problem(props: { error: Error; what: string; again?: () => void }): VNode {
  const { error, what, again } = props;
  return (
    <Notice kind="problem" title={`${what} cannot be shown.`}>
      <p>{error.message}</p>
      <p>{remedyOf(error)}</p>
      {again && (
        <button type="button" onClick={again}>
          Try again
        </button>
      )}
    </Notice>
  );
}

function remedyOf(error: Error): string {
  if (error instanceof Unreachable) return 'See whether trivet up runs.';
  if (!(error instanceof Refused)) return 'This is a fault of the console.';
  switch (error.status) {
    case 401:
      return 'The pool does not believe this session’s token; sign in again.';
    case 403:
      return 'An Administrator of the pool can give this principal a role: trivet role assignment create.';
    case 503:
      return 'The pool may be healing; it is worth another try in a moment.';
    default:
      return '';
  }
}

/** A view that is still empty for want of an answer. */
export function Waiting(props: { what: string }): VNode {
  return (
    <p class="waiting" role="status">
      Loading {props.what} …
    </p>
  );
}

/** A table that may be wider than the window: it then moves by itself, by keyboard too. */
export function Wide(props: { label: string; children: ComponentChildren }): VNode {
  return (
    <div class="wide" role="region" aria-label={props.label} tabIndex={0}>
      {props.children}
    </div>
  );
}

/** The head of a view. */
export function Heading(props: {
  title: string;
  note?: ComponentChildren;
  children?: ComponentChildren;
}): VNode {
  return (
    <div class="heading">
      <div>
        <h1>{props.title}</h1>
        {props.note !== undefined && <p class="note">{props.note}</p>}
      </div>
      {props.children !== undefined && <div class="tools">{props.children}</div>}
    </div>
  );
}

/** What is looked for in a list. */
export function Filter(props: { wanted: string; want: (text: string) => void }): VNode {
  const { wanted, want } = props;
  return (
    <label class="filter">
      Filter{' '}
      <input
        type="search"
        value={wanted}
        spellcheck={false}
        onInput={({ currentTarget }) => want(currentTarget.value)}
      />
    </label>
  );
}

/** A state in a word, with a sign that is not its colour. */
export function Badge(props: {
  kind: 'good' | 'busy' | 'bad' | 'plain';
  children: ComponentChildren;
}): VNode {
  const sign = { good: '●', busy: '◐', bad: '▲', plain: '○' }[props.kind];
  return (
    <span class={`badge ${props.kind}`}>
      <span aria-hidden="true">{sign}</span> {props.children}
    </span>
  );
}

/** A view of which nothing can be shown. */
export function Refusal(props: { title: string; error: Error; what: string; again: () => void }): VNode {
  const { title, ...rest } = props;
  return (
    <>
      <Heading title={title} />
      <Problem {...rest} />
    </>
  );
}
