// The door: client id and secret of a principal of the local login.
import { useRef, useState } from 'preact/hooks';
import type { VNode } from 'preact';
import { Notice } from './parts.js';
import { Refused, signIn, type Session } from './session.js';

export function SignIn(props: { said: string | undefined; signedIn: (session: Session) => void }): VNode {
  const { said, signedIn } = props;
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Error | undefined>(undefined);
  const form = useRef<HTMLFormElement>(null);

  const submit = (event: Event): void => {
    event.preventDefault();
    if (!form.current || busy) return;
    const given = new FormData(form.current);
    const clientId = textOf(given.get('clientId')).trim();
    const secret = textOf(given.get('clientSecret')).trim();
    setBusy(true);
    setProblem(undefined);
    signIn(clientId, secret).then(signedIn, (error: unknown) => {
      setBusy(false);
      setProblem(error instanceof Error ? error : new Error(String(error)));
    });
  };

  return (
    <main class="door">
      <form ref={form} onSubmit={submit} aria-labelledby="door-title">
        <Mark />
        <h1 id="door-title">Sign in to Trivet</h1>
        <p class="note">
          With a principal of the local login. The administrator’s is in <code>admin.json</code> of the data
          directory; <code>trivet principal add</code> makes others.
        </p>
        {said !== undefined && problem === undefined && (
          <Notice kind="hint">
            <p role="status">{said}</p>
          </Notice>
        )}
        {problem && (
          <Notice kind="problem" title="Not signed in.">
            <p>{problem.message}</p>
            {problem instanceof Refused && problem.status < 429 && (
              <p>Check client id and secret; both are one line of letters, digits and signs.</p>
            )}
          </Notice>
        )}
        <label>
          Client id
          <input name="clientId" required autoComplete="username" spellcheck={false} autoFocus />
        </label>
        <label>
          Client secret
          <input name="clientSecret" type="password" required autoComplete="current-password" />
        </label>
        <button class="primary" disabled={busy}>
          {busy ? 'Signing in …' : 'Sign in'}
        </button>
        <p class="small">The session stays in this tab’s memory, and ends with it.</p>
      </form>
    </main>
  );
}

function textOf(value: FormDataEntryValue | null): string {
  return typeof value === 'string' ? value : '';
}

/** The sign of the house: three that are one. */
export function Mark(): VNode {
  return (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M16 8.5 7.5 23h17z" />
      <circle cx="16" cy="8.5" r="3.4" />
      <circle cx="7.5" cy="23" r="3.4" />
      <circle cx="24.5" cy="23" r="3.4" />
    </svg>
  );
}
