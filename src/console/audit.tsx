// The newest records of the audit logs of all partitions, in one list. What a log holds was in part chosen by whoever
// sent a request, and is shown as text.
import { useState } from 'preact/hooks';
import type { VNode } from 'preact';
import { Badge, Filter, Heading, Notice, Refusal, useAsked, Waiting, Wide } from './parts.js';
import { principalNames } from './roles.js';
import { askPool, Refused, type Session } from './session.js';
import type { AuditTail } from './shapes.js';

const PARTITIONS = [0, 1, 2];
/** Rows at first, and with each wish for more. */
const ROWS = 40;

interface AuditRecord {
  readonly id: string;
  readonly instance: number;
  readonly time: string;
  readonly operation: string;
  readonly status: number | undefined;
  readonly description: string;
  /** Object id. */
  readonly caller: string;
  readonly path: string;
}

export function Audit(props: { session: Session; pool: string }): VNode {
  const { session, pool } = props;
  const [wanted, setWanted] = useState('');
  const [refusedOnly, setRefusedOnly] = useState(false);
  const [rows, setRows] = useState(ROWS);
  const { value, problem, busy, again } = useAsked(() => fetchTail(session, pool), [session, pool]);
  if (problem) return <Refusal title="Audit" error={problem} what="The audit log" again={again} />;
  if (!value) return <Waiting what="the audit log" />;
  const shown = value.records.filter(
    (record) =>
      (!refusedOnly || (record.status ?? 0) >= 400) &&
      `${record.operation} ${record.path} ${nameOf(record.caller)} ${record.status ?? ''}`
        .toLowerCase()
        .includes(wanted.toLowerCase()),
  );
  function nameOf(caller: string): string {
    return value?.names.get(caller) ?? caller;
  }
  return (
    <>
      <Heading title="Audit" note="The newest records of every partition; looking at them is recorded too">
        <Filter wanted={wanted} want={setWanted} />
        <label class="check">
          <input
            type="checkbox"
            checked={refusedOnly}
            onChange={({ currentTarget }) => setRefusedOnly(currentTarget.checked)}
          />{' '}
          Refused only
        </label>
        <button type="button" onClick={again} disabled={busy}>
          Refresh
        </button>
      </Heading>
      {value.missing.length > 0 && (
        <Notice kind="hint">
          <p>
            Partition {value.missing.join(' and ')} does not serve now; its records are not among these. They
            are in its directory: <code>trivet audit tail</code>.
          </p>
        </Notice>
      )}
      <section class="card" aria-label="Records">
        {shown.length === 0 ? (
          <p class="note">No record fits.</p>
        ) : (
          <Wide label="Records">
            <table class="log">
              <thead>
                <tr>
                  <th scope="col">Time (UTC)</th>
                  <th scope="col">Operation</th>
                  <th scope="col">Outcome</th>
                  <th scope="col">Who</th>
                  <th scope="col">Path</th>
                  <th scope="col" class="count">
                    Partition
                  </th>
                </tr>
              </thead>
              <tbody>
                {shown.slice(0, rows).map((record) => (
                  <tr key={record.id}>
                    <td class="time">{record.time.slice(0, 19).replace('T', ' ')}</td>
                    <th scope="row">{record.operation}</th>
                    <td>
                      <Outcome record={record} />
                    </td>
                    <td title={record.caller}>{shortened(nameOf(record.caller))}</td>
                    <td class="path">{record.path}</td>
                    <td class="count">{record.instance}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Wide>
        )}
        {shown.length > rows && (
          <button type="button" onClick={() => setRows(rows + ROWS)}>
            Show more
          </button>
        )}
      </section>
    </>
  );
}

function Outcome(props: { record: AuditRecord }): VNode {
  const { status, description } = props.record;
  if (status === undefined) return <>–</>;
  if (status < 400) return <Badge kind="good">{status}</Badge>;
  return (
    <Badge kind="bad">
      {status} {description}
    </Badge>
  );
}

function shortened(who: string): string {
  return who === '' ? '–' : /^[0-9a-f-]{36}$/.test(who) ? `${who.slice(0, 8)}…` : who;
}

async function fetchTail(
  session: Session,
  pool: string,
): Promise<{ records: AuditRecord[]; missing: number[]; names: ReadonlyMap<string, string> }> {
  const tails = await Promise.all(
    PARTITIONS.map(async (partition) => {
      try {
        return await askPool<AuditTail>(session, pool, `trivet/audit?partition=${partition}`);
      } catch (error) {
        if (error instanceof Refused && error.status === 503) return partition;
        throw error;
      }
    }),
  );
  // Last: who is refused by the pool gets no names.
  const names = await principalNames(session);
  const records = tails
    .flatMap((tail) => (typeof tail === 'number' ? [] : tail.value.map((line) => read(tail.instance, line))))
    .filter((record) => record !== undefined)
    .sort((one, other) => (one.time < other.time ? 1 : one.time > other.time ? -1 : 0));
  return { records, missing: tails.filter((tail) => typeof tail === 'number'), names };
}

/** Undefined for what is no record of a request or event: seals, and lines that somebody has spoilt. */
function read(instance: number, line: string): AuditRecord | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    return undefined;
  }
  const record = parsed as Readonly<Record<string, unknown>>;
  if (record['category'] !== 'AuditEvent') return undefined;
  const text = (name: string): string => {
    const { [name]: value } = record;
    return typeof value === 'string' ? value : '';
  };
  const status = record['httpStatusCode'];
  return {
    id: `${instance}-${String(record['sequence'])}`,
    instance,
    time: text('time'),
    operation: text('operationName'),
    status: typeof status === 'number' ? status : undefined,
    description: text('resultDescription'),
    caller: /"objectidentifier":"([^"]*)"/.exec(text('identity'))?.[1]?.toLowerCase() ?? '',
    path: text('requestUri')
      .replace(/^https:\/\/[^/]*/, '')
      .replace(/\?.*$/, ''),
  };
}
