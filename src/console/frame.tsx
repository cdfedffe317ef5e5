// What surrounds every view: which pool, which view, who is signed in until when, and whether the fabric answers.
import { useEffect, useState } from 'preact/hooks';
import type { VNode } from 'preact';
import { Audit } from './audit.js';
import { Domain } from './domain.js';
import { Keys } from './keys.js';
import { useLive, type Live } from './live.js';
import { MeterView } from './meter.js';
import { NotActive, Overview } from './overview.js';
import { Badge, Notice } from './parts.js';
import { Roles } from './roles.js';
import type { Session } from './session.js';
import { Mark } from './sign-in.js';
import { clockText } from './text.js';

const VIEWS = [
  ['pool', 'Pool'],
  ['keys', 'Keys'],
  ['roles', 'Roles'],
  ['domain', 'Security domain'],
  ['audit', 'Audit'],
  ['meter', 'Meter'],
] as const;
type View = (typeof VIEWS)[number][0];

export function Frame(props: { session: Session; leave: (why: string | undefined) => void }): VNode {
  const { session, leave } = props;
  const view = useView();
  const [paused, setPaused] = useState(false);
  const live = useLive(session, paused, leave);
  const [chosen, setChosen] = useState('');
  const names = live.pools?.map(({ pool }) => pool.name) ?? [];
  const pool = names.includes(chosen) || live.refused ? chosen : (names[0] ?? '');
  useEnd(session, leave);

  return (
    <div class="frame">
      <a class="skip" href="#content" onClick={skip}>
        Skip to content
      </a>
      <header>
        <a class="brand" href="#/pool">
          <Mark />
          Trivet
        </a>
        <PoolChoice names={names} pool={pool} choose={setChosen} free={live.refused !== undefined} />
        <div class="who">
          <Connection live={live} paused={paused} pause={setPaused} />
          <span class="session">
            <span class="id" title={session.clientId}>
              {session.clientId.slice(0, 8)}…
            </span>{' '}
            until {clockText(session.until)}
          </span>
          <button type="button" onClick={() => leave('You have signed out.')}>
            Sign out
          </button>
        </div>
        <nav aria-label="Views">
          {VIEWS.map(([name, title]) => (
            <a key={name} href={`#/${name}`} aria-current={view === name ? 'page' : undefined}>
              {title}
            </a>
          ))}
        </nav>
      </header>
      <main id="content" tabIndex={-1}>
        {live.lostSince !== undefined && (
          <Notice kind="problem" title={`No answer from the fabric since ${clockText(live.lostSince)}.`}>
            <p>What is shown is from before. This page tries again by itself; see whether trivet up runs.</p>
          </Notice>
        )}
        <Shown view={view} session={session} live={live} name={pool} />
      </main>
    </div>
  );
}

function Shown(props: { view: View; session: Session; live: Live; name: string }): VNode {
  const { view, session, live, name } = props;
  const seen = live.pools?.find(({ pool }) => pool.name === name);
  if (view === 'meter') return <MeterView session={session} />;
  if (view === 'pool') {
    if (live.refused) {
      return (
        <Notice kind="problem" title="The pool’s state cannot be shown.">
          <p>{live.refused.message}</p>
          <p>
            Keys, roles and the rest are a pool’s own affair: name the pool above and open them, as far as its
            roles let you.
          </p>
        </Notice>
      );
    }
    if (live.pools && live.pools.length === 0) {
      return (
        <Notice kind="hint" title="There is no pool.">
          <p>
            Create one on the control plane: <code>az keyvault create --hsm-name NAME …</code>
          </p>
        </Notice>
      );
    }
    return seen ? (
      <Overview session={session} seen={seen} />
    ) : (
      <p class="waiting" role="status">
        Looking at the pools …
      </p>
    );
  }
  if (session.data === undefined) {
    return (
      <Notice kind="hint" title="This login opens no pool.">
        <p>{session.dataProblem}</p>
        <p>
          The pools believe another issuer. Commands take its token: <code>TRIVET_ACCESS_TOKEN</code>; this
          page does not.
        </p>
      </Notice>
    );
  }
  if (name === '') {
    return (
      <Notice kind="hint" title="Which pool?">
        <p>Name it above. This principal may not list the pools, and may still have roles in one.</p>
      </Notice>
    );
  }
  if (seen?.pool.activation === 'NotActivated' && view !== 'domain') return <NotActive />;
  switch (view) {
    case 'keys':
      return <Keys session={session} pool={name} />;
    case 'roles':
      return <Roles session={session} pool={name} />;
    case 'domain':
      return <Domain session={session} pool={name} seen={seen?.pool} />;
    case 'audit':
      return <Audit session={session} pool={name} />;
  }
}

function PoolChoice(props: {
  names: readonly string[];
  pool: string;
  choose: (name: string) => void;
  free: boolean;
}): VNode | null {
  const { names, pool, choose, free } = props;
  if (free) {
    return (
      <label class="choice">
        Pool{' '}
        <input
          value={pool}
          spellcheck={false}
          onChange={({ currentTarget }) => choose(currentTarget.value.trim().toLowerCase())}
        />
      </label>
    );
  }
  if (names.length < 2) return names[0] === undefined ? null : <span class="choice">{names[0]}</span>;
  return (
    <label class="choice">
      Pool{' '}
      <select value={pool} onChange={({ currentTarget }) => choose(currentTarget.value)}>
        {names.map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
    </label>
  );
}

function Connection(props: { live: Live; paused: boolean; pause: (paused: boolean) => void }): VNode | null {
  const { live, paused, pause } = props;
  if (live.refused) return null;
  const state = live.lostSince !== undefined ? 'lost' : paused ? 'paused' : 'live';
  return (
    <span class="connection">
      <span role="status">
        {state === 'live' && <Badge kind="good">live</Badge>}
        {state === 'paused' && <Badge kind="plain">paused</Badge>}
        {state === 'lost' && <Badge kind="bad">connection lost</Badge>}
      </span>
      <button type="button" aria-pressed={paused} onClick={() => pause(!paused)}>
        {paused ? 'Resume updates' : 'Pause updates'}
      </button>
    </span>
  );
}

/** Which view the address names. */
function useView(): View {
  const read = (): View => VIEWS.find(([name]) => location.hash === `#/${name}`)?.[0] ?? 'pool';
  const [view, setView] = useState(read);
  useEffect(() => {
    const changed = (): void => setView(read());
    addEventListener('hashchange', changed);
    return () => removeEventListener('hashchange', changed);
  }, []);
  useEffect(() => {
    document.title = `${VIEWS.find(([name]) => name === view)?.[1] ?? ''} · Trivet console`;
    return () => {
      document.title = 'Trivet console';
    };
  }, [view]);
  return view;
}

/** Signs out when the tokens end. */
function useEnd({ until }: Session, leave: (why: string) => void): void {
  useEffect(() => {
    const timer = setTimeout(() => leave('The session has ended; sign in again.'), until - Date.now());
    return () => clearTimeout(timer);
  }, [until]);
}

// The address is the view's, so it stays as it is.
function skip(event: Event): void {
  event.preventDefault();
  document.getElementById('content')?.focus();
}
