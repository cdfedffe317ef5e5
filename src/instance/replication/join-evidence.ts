// Evidence for a question to join: that the key for which the data-wrapping key is asked was made by the very instance
// at the other end of this link.
import type { Attestor, ExchangePublicKey } from './attestor.js';
import type { Mesh } from './mesh.js';

export class JoinEvidence {
  readonly #mesh: Pick<Mesh, 'binding'>;
  readonly #attestor: Attestor;

  constructor(mesh: Pick<Mesh, 'binding'>, attestor: Attestor) {
    this.#mesh = mesh;
    this.#attestor = attestor;
  }

  /** Of this instance, to be sent to `member` on the present link. Throws when there is none: ask again on the next. */
  evidenceFor(member: number, key: ExchangePublicKey): Uint8Array {
    const binding = this.#mesh.binding(member);
    if (binding === undefined) throw new Error(`the link to instance ${member} was lost`);
    return this.#attestor.evidence(binding, { role: 'join', key });
  }

  /** Undefined if what `member` sent on the present link lets it have what it asks for; else why not. */
  checkJoin(member: number, evidence: unknown, key: ExchangePublicKey): string | undefined {
    const binding = this.#mesh.binding(member);
    if (binding === undefined) return 'the link is gone';
    if (!(evidence instanceof Uint8Array)) return 'what it sent is no evidence';
    return this.#attestor.check(member, evidence, binding, { role: 'join', key });
  }
}
