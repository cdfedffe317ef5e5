// Who holds which role where: principals in rows, roles in columns, scopes where they meet.
import type { VNode } from 'preact';
import { Heading, Notice, Refusal, useAsked, Waiting, Wide } from './parts.js';
import { askControl, askPool, Refused, type Session } from './session.js';
import type { Principal, RoleAssignment, RoleDefinition } from './shapes.js';
import { countText, lastOf } from './text.js';

const AUTHORIZATION = 'providers/microsoft.authorization';

/** Names of the local login's principals by object id; none when this caller may not know them. */
export async function principalNames(session: Session): Promise<ReadonlyMap<string, string>> {
  try {
    const { principals } = await askControl<{ principals: readonly Principal[] }>(
      session,
      '/trivet/principals',
    );
    return new Map(principals.map(({ objectId, name }) => [objectId.toLowerCase(), name]));
  } catch (error) {
    if (error instanceof Refused && error.status === 403) return new Map();
    throw error;
  }
}

export function Roles(props: { session: Session; pool: string }): VNode {
  const { session, pool } = props;
  const { value, problem, again } = useAsked(async () => {
    const [definitions, assignments] = await Promise.all([
      askPool<{ value: readonly RoleDefinition[] }>(session, pool, `${AUTHORIZATION}/roledefinitions`),
      askPool<{ value: readonly RoleAssignment[] }>(session, pool, `${AUTHORIZATION}/roleassignments`),
    ]);
    // Last: who is refused by the pool gets no names.
    const names = await principalNames(session);
    return { definitions: definitions.value, assignments: assignments.value, names };
  }, [session, pool]);
  if (problem) return <Refusal title="Roles" error={problem} what="Roles" again={again} />;
  if (!value) return <Waiting what="roles" />;
  const { definitions, assignments, names } = value;
  const holders = [...new Set(assignments.map(({ properties }) => properties.principalId.toLowerCase()))];
  const without = [...names.keys()].filter((id) => !holders.includes(id));
  const principals = [...holders, ...without].toSorted((one, other) =>
    nameOf(one).localeCompare(nameOf(other)),
  );
  const held = definitions.filter(({ id }) => assignments.some((assignment) => means(assignment, id)));
  const free = definitions.filter((definition) => !held.includes(definition));
  function nameOf(id: string): string {
    return names.get(id) ?? id;
  }
  return (
    <>
      <Heading
        title="Roles"
        note={`${countText(assignments.length, 'assignment')} of ${countText(held.length, 'role')} to ${countText(holders.length, 'principal')}`}
      >
        <button type="button" onClick={again}>
          Refresh
        </button>
      </Heading>
      <section class="card" aria-label="Role matrix">
        <Wide label="Role matrix">
          <table class="matrix">
            <thead>
              <tr>
                <th scope="col">Principal</th>
                {held.map(({ id, properties }) => (
                  <th key={id} scope="col" title={properties.description}>
                    {shortName(properties.roleName)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {principals.map((principal) => (
                <tr key={principal}>
                  <th scope="row">
                    {names.has(principal) ? (
                      <span title={principal}>{nameOf(principal)}</span>
                    ) : (
                      <code>{principal}</code>
                    )}
                  </th>
                  {held.map(({ id }) => (
                    <td key={id}>
                      {assignments
                        .filter(
                          (one) => means(one, id) && one.properties.principalId.toLowerCase() === principal,
                        )
                        .map(({ name, properties }) => (
                          <span key={name} class="scope">
                            {scopeText(properties.scope)}
                          </span>
                        ))}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </Wide>
        <p class="note">
          <span class="scope">whole HSM</span> reaches every key; other scopes say which keys. Nobody does
          what no role allows.
        </p>
      </section>
      {free.length > 0 && (
        <section class="card" aria-labelledby="free-title">
          <h2 id="free-title">Roles that nobody holds</h2>
          <ul class="plain">
            {free.map(({ id, properties }) => (
              <li key={id}>{properties.roleName}</li>
            ))}
          </ul>
        </section>
      )}
      {assignments.length === 0 && (
        <Notice kind="hint" title="Nobody holds a role.">
          <p>
            <code>trivet role assignment create</code> gives one.
          </p>
        </Notice>
      )}
    </>
  );
}

function means({ properties }: RoleAssignment, definition: string): boolean {
  return lastOf(properties.roleDefinitionId).toLowerCase() === lastOf(definition).toLowerCase();
}

function shortName(role: string): string {
  return role.replace(/^Managed HSM /, '');
}

function scopeText(scope: string): string {
  if (scope === '/') return 'whole HSM';
  return scope === '/keys' ? 'all keys' : `key ${scope.replace(/^\/keys\//, '')}`;
}
