// The security domain: where the pool stands in its ceremony, whom it can be told by, and what is to be done next.
import type { VNode } from 'preact';
import { Badge, Heading, Notice, Problem, useAsked, Waiting } from './parts.js';
import { askPool, type Session } from './session.js';
import type { Pool } from './shapes.js';

export function Domain(props: { session: Session; pool: string; seen: Pool | undefined }): VNode {
  const { session, pool, seen } = props;
  const active = seen?.activation;
  const asked = useAsked(
    () =>
      active === 'NotActivated'
        ? Promise.resolve(undefined)
        : askPool<{ status: string; status_details: string }>(
            session,
            pool,
            'securitydomain/download/pending',
          ),
    [session, pool, active],
  );
  const settings = useAsked(
    () =>
      active === 'NotActivated'
        ? Promise.resolve(undefined)
        : askPool<{ settings: readonly { name: string; value: string }[] }>(session, pool, 'settings'),
    [session, pool, active],
  );
  return (
    <>
      <Heading title="Security domain" note="What a new HSM needs to read this one’s keys">
        {active === 'Active' && <Badge kind="good">activated</Badge>}
        {active === 'NotActivated' && <Badge kind="busy">not activated</Badge>}
      </Heading>
      {active === 'NotActivated' && <Ceremony />}
      {active !== 'NotActivated' && (
        <section class="card">
          {asked.problem && (
            <Problem error={asked.problem} what="The state of the download" again={asked.again} />
          )}
          {asked.busy && !asked.value && !asked.problem && <Waiting what="the state" />}
          {asked.value && (
            <dl class="pairs">
              <dt>Download</dt>
              <dd>
                {asked.value.status}: {asked.value.status_details}
              </dd>
              <dt>Owner’s certificate</dt>
              <dd>
                {seen?.ownerFingerprint == null ? '–' : <code class="print">{seen.ownerFingerprint}</code>}
              </dd>
            </dl>
          )}
          <p class="note">
            The pool keeps no copy of the file. Keep several, apart from the custodians’ keys, and{' '}
            <code>trivet security-domain inspect FILE</code> shows what one holds. Repeat the download when a
            custodian leaves.
          </p>
        </section>
      )}
      {active !== 'NotActivated' && (
        <section class="card" aria-labelledby="settings-title">
          <h2 id="settings-title">Settings of the HSM</h2>
          {settings.problem && <Problem error={settings.problem} what="Settings" again={settings.again} />}
          {settings.busy && !settings.value && !settings.problem && <Waiting what="settings" />}
          {settings.value && (
            <dl class="pairs">
              {settings.value.settings.map(({ name, value }) => (
                <>
                  <dt>{name}</dt>
                  <dd>{value}</dd>
                </>
              ))}
            </dl>
          )}
        </section>
      )}
    </>
  );
}

function Ceremony(): VNode {
  return (
    <Notice kind="hint" title="This pool waits for its security domain.">
      <p>Until then it answers nothing but this ceremony:</p>
      <ol>
        <li>
          Each custodian makes a key, offline:{' '}
          <code>trivet security-domain make-keys --out ceremony --count 3</code>
        </li>
        <li>
          The certificates go to the pool, which answers with the file and is active:{' '}
          <code>
            trivet security-domain download --certificates ceremony/*.cer --quorum 2 --out domain.json
          </code>
        </li>
        <li>
          See that every custodian is in it: <code>trivet security-domain inspect domain.json</code>
        </li>
      </ol>
      <p>
        To rebuild a lost HSM here instead, upload its domain:{' '}
        <code>trivet security-domain transfer-key</code>, then <code>upload</code>.
      </p>
    </Notice>
  );
}
