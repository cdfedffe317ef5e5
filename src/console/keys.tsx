// Keys with their versions and rotation. Names and tags are what somebody has written, and are shown as text.
import { useEffect, useState } from 'preact/hooks';
import type { VNode } from 'preact';
import { addDuration, parseDuration } from '../values/duration.js';
import { Badge, Filter, Heading, Notice, Problem, Refusal, useAsked, Waiting, Wide } from './parts.js';
import { askPool, Refused, type Session } from './session.js';
import type { DeletedKeyItem, KeyBundle, KeyItem, Page, RotationPolicy } from './shapes.js';
import { countText, dateText, lastOf, momentText } from './text.js';

/** Pages that are fetched at a time. */
const PAGES = 4;
/** Of a key: it has 100 at most, and a page 25. */
const VERSION_PAGES = 4;

interface Listed<T> {
  readonly items: readonly T[];
  /** Where the next page begins; undefined at the end. */
  readonly next: string | undefined;
}

/** Up to `pages` pages of a list. */
async function listed<T>(
  session: Session,
  pool: string,
  path: string,
  pages: number,
  from?: string,
): Promise<Listed<T>> {
  const items: T[] = [];
  let next = from;
  for (let page = 0; page < pages; page += 1) {
    const more = next === undefined ? '' : `?$skiptoken=${encodeURIComponent(next)}`;
    const { value, nextLink } = await askPool<Page<T>>(session, pool, `${path}${more}`);
    items.push(...value);
    // The link leads to the data port, where this page cannot go: the place in it is enough.
    next = nextLink === undefined ? undefined : /[?&]\$skiptoken=([0-9A-Za-z_-]+)/.exec(nextLink)?.[1];
    if (next === undefined) break;
  }
  return { items, next };
}

export function Keys(props: { session: Session; pool: string }): VNode {
  const { session, pool } = props;
  const first = useAsked(() => listed<KeyItem>(session, pool, 'keys', PAGES), [session, pool]);
  const [more, setMore] = useState<Listed<KeyItem> | undefined>(undefined);
  const [problem, setProblem] = useState<Error | undefined>(undefined);
  const [wanted, setWanted] = useState('');
  const [chosen, setChosen] = useState<string | undefined>(undefined);
  useEffect(() => {
    setMore(undefined);
    setProblem(undefined);
  }, [first.value]);
  useEffect(() => setChosen(undefined), [pool]);
  if (first.problem) return <Refusal title="Keys" error={first.problem} what="Keys" again={first.again} />;
  if (!first.value) return <Waiting what="keys" />;
  const items = [...first.value.items, ...(more?.items ?? [])];
  const next = more ? more.next : first.value.next;
  const shown = items.filter(({ kid }) => lastOf(kid).toLowerCase().includes(wanted.toLowerCase()));
  const fetchMore = (): void => {
    listed<KeyItem>(session, pool, 'keys', PAGES, next).then(
      (page) => setMore({ items: [...(more?.items ?? []), ...page.items], next: page.next }),
      (error: unknown) => setProblem(error instanceof Error ? error : new Error(String(error))),
    );
  };
  return (
    <>
      <Heading
        title="Keys"
        note={`${countText(items.length, 'key')}${next === undefined ? '' : ' and more'}`}
      >
        <Filter wanted={wanted} want={setWanted} />
        <button type="button" onClick={first.again}>
          Refresh
        </button>
      </Heading>
      {items.length === 0 ? (
        <Notice kind="hint" title="There is no key yet.">
          <p>
            Make one: <code>trivet key create NAME</code>, or by any client of Azure Managed HSM.
          </p>
        </Notice>
      ) : (
        <div class={chosen === undefined ? 'split' : 'split open'}>
          <section class="card" aria-label="List of keys">
            <Wide label="Keys">
              <table>
                <thead>
                  <tr>
                    <th scope="col">Name</th>
                    <th scope="col">State</th>
                    <th scope="col">Created</th>
                    <th scope="col">Changed</th>
                    <th scope="col">Expires</th>
                  </tr>
                </thead>
                <tbody>
                  {shown.map(({ kid, attributes }) => {
                    const name = lastOf(kid);
                    return (
                      <tr key={name} class={name === chosen ? 'chosen' : undefined}>
                        <th scope="row">
                          <button
                            type="button"
                            class="link"
                            aria-expanded={name === chosen}
                            onClick={() => setChosen(name === chosen ? undefined : name)}
                          >
                            {name}
                          </button>
                        </th>
                        <td>
                          <Enabled enabled={attributes.enabled} />
                        </td>
                        <td>{dateText(attributes.created)}</td>
                        <td>{dateText(attributes.updated)}</td>
                        <td>{dateText(attributes.exp)}</td>
                      </tr>
                    );
                  })}
                </tbody>
              </table>
            </Wide>
            {shown.length === 0 && <p class="note">No name holds “{wanted}”.</p>}
            {problem && <Problem error={problem} what="More keys" />}
            {next !== undefined && (
              <button type="button" onClick={fetchMore}>
                Load more
              </button>
            )}
          </section>
          {chosen !== undefined && (
            <KeyDetail session={session} pool={pool} name={chosen} close={() => setChosen(undefined)} />
          )}
        </div>
      )}
      <Deleted session={session} pool={pool} />
    </>
  );
}

function Enabled(props: { enabled: boolean }): VNode {
  return props.enabled ? <Badge kind="good">enabled</Badge> : <Badge kind="bad">disabled</Badge>;
}

function KeyDetail(props: { session: Session; pool: string; name: string; close: () => void }): VNode {
  const { session, pool, name, close } = props;
  const { value, problem, again } = useAsked(async () => {
    const path = `keys/${encodeURIComponent(name)}`;
    const [bundle, policy, versions] = await Promise.all([
      askPool<KeyBundle | undefined>(session, pool, path),
      askPool<RotationPolicy | undefined>(session, pool, `${path}/rotationpolicy`),
      listed<KeyItem>(session, pool, `${path}/versions`, VERSION_PAGES),
    ]);
    if (!bundle) throw new Refused(404, 'There is no such key any more.');
    return { bundle, policy, versions: versions.items.toSorted(newestFirst) };
  }, [session, pool, name]);
  return (
    <section class="card detail" aria-labelledby="key-title">
      <div class="heading">
        <h2 id="key-title">{name}</h2>
        <button type="button" onClick={close}>
          Close
        </button>
      </div>
      {problem && <Problem error={problem} what="The key" again={again} />}
      {!problem && !value && <Waiting what="the key" />}
      {value && (
        <>
          <dl class="pairs">
            <dt>Type</dt>
            <dd>{typeText(value.bundle)}</dd>
            <dt>May</dt>
            <dd>{value.bundle.key.key_ops.join(', ') || 'nothing'}</dd>
            <dt>Leaves the HSM</dt>
            <dd>{value.bundle.attributes.exportable ? 'by its release policy' : 'never'}</dd>
            <dt>Last rotated</dt>
            <dd>{value.versions.length > 1 ? momentText(value.versions[0]?.attributes.created) : 'never'}</dd>
            <dt>Next rotation</dt>
            <dd>{nextRotation(value.policy, value.versions[0])}</dd>
            {Object.entries(value.bundle.tags ?? {}).map(([tag, text]) => (
              <>
                <dt>{tag}</dt>
                <dd>{text}</dd>
              </>
            ))}
          </dl>
          <h3>{countText(value.versions.length, 'version')}</h3>
          <Wide label={`Versions of ${name}`}>
            <table class="versions">
              <thead>
                <tr>
                  <th scope="col">Version</th>
                  <th scope="col">State</th>
                  <th scope="col">Created</th>
                  <th scope="col">Expires</th>
                </tr>
              </thead>
              <tbody>
                {value.versions.map(({ kid, attributes }, place) => (
                  <tr key={kid}>
                    <th scope="row">
                      <code title={lastOf(kid)}>{lastOf(kid).slice(0, 8)}…</code>
                      {place === 0 && <span class="newest"> newest</span>}
                    </th>
                    <td>
                      <Enabled enabled={attributes.enabled} />
                    </td>
                    <td>{momentText(attributes.created)}</td>
                    <td>{dateText(attributes.exp)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Wide>
        </>
      )}
    </section>
  );
}

function newestFirst(one: KeyItem, other: KeyItem): number {
  return other.attributes.created - one.attributes.created;
}

function typeText({ key, attributes }: KeyBundle): string {
  const size = key.crv ?? (attributes.key_size === undefined ? bitsOf(key.n) : `${attributes.key_size} bits`);
  return [key.kty, size].filter((word) => word !== undefined).join(', ');
}

/** Of an RSA modulus, base64url. */
function bitsOf(n: string | undefined): string | undefined {
  return n === undefined ? undefined : `${Math.floor((n.length * 6) / 8) * 8} bits`;
}

/** When the policy makes the next version, as far as it can be told from the newest one. */
function nextRotation(policy: RotationPolicy | undefined, newest: KeyItem | undefined): string {
  const rotate = policy?.lifetimeActions.find(({ action }) => action.type.toLowerCase() === 'rotate');
  if (!rotate) return 'no policy';
  const { timeAfterCreate, timeBeforeExpiry } = rotate.trigger;
  const after = timeAfterCreate === undefined ? undefined : parseDuration(timeAfterCreate);
  if (after && newest) {
    return `${momentText(addDuration(newest.attributes.created, after))} (${timeAfterCreate ?? ''} after it was made)`;
  }
  const before = timeBeforeExpiry === undefined ? undefined : parseDuration(timeBeforeExpiry);
  if (before && newest?.attributes.exp !== undefined) {
    return `${momentText(addDuration(newest.attributes.exp, before, -1))} (${timeBeforeExpiry ?? ''} before it expires)`;
  }
  return before ? `${timeBeforeExpiry ?? ''} before it expires; the newest version does not` : 'by a policy';
}

function Deleted(props: { session: Session; pool: string }): VNode | null {
  const { session, pool } = props;
  const { value, problem, again } = useAsked(
    () => listed<DeletedKeyItem>(session, pool, 'deletedkeys', PAGES),
    [session, pool],
  );
  if (problem) return <Problem error={problem} what="Deleted keys" again={again} />;
  if (!value || value.items.length === 0) return null;
  return (
    <section class="card" aria-labelledby="deleted-title">
      <h2 id="deleted-title">Deleted keys</h2>
      <p class="note">
        They can be recovered until they are purged: <code>trivet key recover NAME</code>.
      </p>
      <Wide label="Deleted keys">
        <table>
          <thead>
            <tr>
              <th scope="col">Name</th>
              <th scope="col">Deleted</th>
              <th scope="col">Purged on</th>
            </tr>
          </thead>
          <tbody>
            {value.items.map(({ kid, deletedDate, scheduledPurgeDate }) => (
              <tr key={kid}>
                <th scope="row">{lastOf(kid)}</th>
                <td>{dateText(deletedDate)}</td>
                <td>{dateText(scheduledPurgeDate)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Wide>
      {value.next !== undefined && (
        <p class="note">There are more; trivet key list --deleted shows them all.</p>
      )}
    </section>
  );
}
