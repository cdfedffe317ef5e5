// Faults on request, where the fabric offers them. What a button does is asked of the fabric like any other client would,
// and what becomes of it is seen in the picture.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { VNode } from 'preact';
import { askControl, Refused, type Session } from './session.js';
import type { Instance, Pool } from './shapes.js';

export type Fault = 'kill' | 'pause' | 'resume' | 'unplug' | 'replug' | 'wipe';

/** Rules for faults that a pool follows; undefined where the fabric offers no faults, or this caller none. */
export function useRules(
  session: Session,
  pool: string,
): [rules: readonly unknown[] | undefined, again: () => void] {
  const [rules, setRules] = useState<readonly unknown[] | undefined>(undefined);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let left = false;
    const path = `pools/${encodeURIComponent(pool)}/faults`;
    const ask = async (): Promise<readonly unknown[] | undefined> => {
      const { offered } = await askControl<{ offered: boolean }>(session, `/console/${path}`);
      if (!offered) return undefined;
      return (await askControl<{ rules?: readonly unknown[] }>(session, `/trivet/${path}`)).rules ?? [];
    };
    ask().then(
      (asked) => {
        if (!left) setRules(asked);
      },
      () => {
        if (!left) setRules(undefined);
      },
    );
    return () => {
      left = true;
    };
  }, [session, pool, turn]);
  return [rules, () => setTurn((before) => before + 1)];
}

const WORDS: Readonly<Record<Fault, string>> = {
  kill: 'killed',
  pause: 'paused',
  resume: 'resumed',
  unplug: 'unplugged',
  replug: 'plugged in again',
  wipe: 'wiped',
};

/** The buttons of each partition, and the rules that are in force. */
export function Faults(props: {
  session: Session;
  pool: Pool;
  rules: readonly unknown[];
  again: () => void;
}): VNode {
  const { session, pool, rules, again } = props;
  const [said, setSaid] = useState<{ good: boolean; text: string } | undefined>(undefined);
  const [wiping, setWiping] = useState<Instance | undefined>(undefined);
  const base = `/trivet/pools/${encodeURIComponent(pool.name)}`;

  const tell = async (path: string, method: string, done: string): Promise<void> => {
    try {
      await askControl(session, path, method);
      setSaid({ good: true, text: done });
    } catch (error) {
      const why = error instanceof Refused || error instanceof Error ? error.message : String(error);
      setSaid({ good: false, text: why });
    }
  };
  const inflict = (fault: Fault, { id }: Instance): void =>
    void tell(`${base}/partitions/${id}/${fault}`, 'POST', `Partition ${id} was ${WORDS[fault]}.`);

  return (
    <section class="card faults" aria-labelledby="faults-title">
      <h2 id="faults-title">Faults</h2>
      <p class="note">For tests and drills: they happen at once, to the real partitions of this pool.</p>
      <ul class="rows">
        {pool.instances.map((instance) => (
          <li key={instance.id}>
            <span class="name">Partition {instance.id}</span>
            <span class="buttons" role="group" aria-label={`Faults of partition ${instance.id}`}>
              <button type="button" onClick={() => inflict('kill', instance)}>
                Kill
              </button>
              <button type="button" onClick={() => inflict(instance.paused ? 'resume' : 'pause', instance)}>
                {instance.paused ? 'Resume' : 'Pause'}
              </button>
              <button
                type="button"
                onClick={() => inflict(instance.unplugged ? 'replug' : 'unplug', instance)}
              >
                {instance.unplugged ? 'Replug' : 'Unplug'}
              </button>
              <button type="button" class="danger" onClick={() => setWiping(instance)}>
                Wipe …
              </button>
            </span>
          </li>
        ))}
      </ul>
      <p class={said?.good === false ? 'said bad' : 'said'} role="status">
        {said?.text}
      </p>
      <h3>Rules in force</h3>
      {rules.length === 0 ? (
        <p class="note">None: requests are answered as they come.</p>
      ) : (
        <>
          <ol class="rules">
            {rules.map((rule, place) => (
              <li key={place}>
                <code>{JSON.stringify(rule)}</code>
              </li>
            ))}
          </ol>
          <button
            type="button"
            onClick={() => void tell(`${base}/faults`, 'DELETE', 'All rules were cleared.').then(again)}
          >
            Clear all rules
          </button>
        </>
      )}
      {wiping && (
        <Confirm
          title={`Wipe partition ${wiping.id}?`}
          text={`Its directory with log, state and token is destroyed. The pool goes on with the others, and partition ${wiping.id} is made anew from them.`}
          action="Wipe it"
          decided={(yes) => {
            setWiping(undefined);
            if (yes) inflict('wipe', wiping);
          }}
        />
      )}
    </section>
  );
}

function Confirm(props: {
  title: string;
  text: string;
  action: string;
  decided: (yes: boolean) => void;
}): VNode {
  const { title, text, action, decided } = props;
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog ref={dialog} aria-labelledby="confirm-title" onCancel={() => decided(false)}>
      <h2 id="confirm-title">{title}</h2>
      <p>{text}</p>
      <div class="buttons">
        <button type="button" onClick={() => decided(false)}>
          Leave it
        </button>
        <button type="button" class="danger" onClick={() => decided(true)}>
          {action}
        </button>
      </div>
    </dialog>
  );
}
