import { checkSlot } from '../../../src/instance/hsm/check-slot.js';
import { isOfSlot } from '../../../src/instance/hsm/failure.js';
import { Refusal, RefusedError } from '../../../src/instance/model/refusal.js';
import type { State } from '../../../src/instance/model/state.js';
import { SlotError } from '../../../src/instance/partition/slot-error.js';

const sealed = { id: 'owner' };

function stateWith(owner: object | undefined): State {
  return {
    get: (table: string, id: string) => (table === 'internal' && id === 'owner' ? owner : undefined),
  } as never;
}

describe('check-slot', () => {
  it("opens the pool's owner key anew", async () => {
    const prove = jest.fn(() => Promise.resolve());
    await checkSlot(stateWith({ sealed }), { prove });
    expect(prove.mock.calls).toEqual([[sealed]]);
  });

  it('a slot that does not open it is broken, and the words say so', async () => {
    const cause = new SlotError('SlotFailed', 'gone');
    const checked = checkSlot(stateWith({ sealed }), { prove: () => Promise.reject(cause) });
    await expect(checked).rejects.toThrow('the token does not open the keys of the pool any more');
    await expect(checked).rejects.toMatchObject({ cause });
  });

  it('a pool that is not founded has nothing to open', async () => {
    await expect(checkSlot(stateWith(undefined), { prove: () => Promise.reject(new Error()) })).resolves.toBe(
      undefined,
    );
  });

  it('is called for by what a slot did not do, and not by what a caller did wrong', () => {
    expect(isOfSlot(new SlotError('SlotFailed', 'x'))).toBe(true);
    expect(isOfSlot(new RefusedError(new Refusal('BlobUnreadable', 'x')))).toBe(true);
    expect(isOfSlot(new SlotError('BadCiphertext', 'x'))).toBe(false);
    expect(isOfSlot(new RefusedError(new Refusal('KeyNotFound', 'x')))).toBe(false);
    expect(isOfSlot(new Error('x'))).toBe(false);
  });
});
