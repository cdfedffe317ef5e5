// Activation: the first download or upload that is decided wins; nothing else activates a pool, and nothing takes it
// back.
import { tagsOf } from '../../../src/instance/model/judge.js';
import type { Mutation } from '../../../src/instance/model/mutation.js';
import { sealedIn } from '../../../src/instance/model/mutation.js';
import { POOL } from '../../../src/instance/model/pool.js';
import {
  activated,
  ADMIN,
  created,
  DOMAIN,
  founded,
  Log,
  nextId,
  NOW,
  restored,
  transferKeyMade,
} from './fixtures.js';

const OTHER = 'eeeeeeee-0000-4000-8000-000000000000';
const STRANGER = 'bbbbbbbb-0000-4000-8000-000000000000';

/** A pool that waits, and has taken these. */
function waiting(...mutations: Mutation[]): Log {
  const log = new Log();
  log.take(founded());
  for (const mutation of mutations) expect(log.take(mutation)).toBeUndefined();
  return log;
}

describe('a pool that waits', () => {
  it('takes no key, no role and no setting', () => {
    const log = waiting();
    expect(log.state.get('pool', POOL)).toMatchObject({ activation: 'NotActivated', securityDomain: DOMAIN });
    expect(log.take(created('k', 'v1'))).toBe('NotActivated');
    const setting = { kind: 'SettingChanged', name: 'AllowKeyManagementOperationsThroughARM' } as const;
    expect(log.take({ ...setting, id: nextId(), time: NOW, value: true })).toBe('NotActivated');
    expect(log.state.count('keys')).toBe(0);
  });

  it('is protected from purges when its owner says so, once and for good', () => {
    const log = waiting();
    const set = (): Mutation => ({ kind: 'PurgeProtectionSet', id: nextId(), time: NOW });
    expect(log.state.get('pool', POOL)?.purgeProtection).toBe(false);
    expect(log.take(set())).toBeUndefined();
    expect(log.state.get('pool', POOL)).toMatchObject({ purgeProtection: true, activation: 'NotActivated' });
    expect(log.take(set())).toBeUndefined();
    expect(log.state.get('pool', POOL)?.purgeProtection).toBe(true);
    expect(tagsOf(set())).toEqual(['pool']);
  });

  it('has one transfer key for all', () => {
    const log = waiting(transferKeyMade());
    const first = log.state.get('internal', 'transfer');
    expect(first).toBeDefined();
    expect(log.take(transferKeyMade())).toBe('TransferKeyExists');
    expect(log.state.get('internal', 'transfer')).toBe(first);
  });

  it('takes no upload before it has given out its transfer key', () => {
    expect(waiting().take(restored(OTHER))).toBe('BadParameter');
  });

  it('is activated by a download, and keeps its domain', () => {
    const log = waiting(transferKeyMade(), activated());
    expect(log.state.get('pool', POOL)).toMatchObject({ activation: 'Active', securityDomain: DOMAIN });
    expect(log.state.get('internal', 'transfer')).toBeUndefined();
    expect(log.take(created('k', 'v1'))).toBeUndefined();
  });

  it('is activated by an upload, and has the domain and the keys that came', () => {
    const log = waiting(transferKeyMade(), restored(OTHER));
    expect(log.state.get('pool', POOL)).toMatchObject({ activation: 'Active', securityDomain: OTHER });
    expect(log.state.get('internal', 'owner')?.certificate).toEqual(Buffer.of(2));
    expect(log.state.get('internal', 'transfer')).toBeUndefined();
    expect(log.take(created('k', 'v1'))).toBeUndefined();
  });
});

describe('an active pool', () => {
  const makers = { download: activated, upload: () => restored('ffffffff-0000-4000-8000-000000000000') };

  it.each([
    ['download', 'download'],
    ['download', 'upload'],
    ['upload', 'download'],
    ['upload', 'upload'],
  ] as const)('activated by %s it refuses a later %s, and stays as it is', (first, second) => {
    const log = waiting(transferKeyMade(), first === 'download' ? activated() : restored(OTHER));
    const before = [log.state.get('pool', POOL), log.state.get('internal', 'owner')];
    expect(log.take(makers[second]())).toBe('AlreadyActivated');
    expect([log.state.get('pool', POOL), log.state.get('internal', 'owner')]).toEqual(before);
  });

  it('gives out no transfer key', () => {
    expect(waiting(activated()).take(transferKeyMade())).toBe('AlreadyActivated');
  });
});

it('who may do it is judged again, in log order', () => {
  const denied = { caller: { objectId: STRANGER, groups: [] }, scope: '/' } as const;
  const log = waiting();
  expect(
    log.take({ ...activated(), authority: { ...denied, action: 'securitydomain/download/action' } }),
  ).toBe('NotPermitted');
  expect(
    log.take({ ...transferKeyMade(), authority: { ...denied, action: 'securitydomain/transferkey/read' } }),
  ).toBe('NotPermitted');
  const allowed = { caller: { objectId: ADMIN, groups: [] }, scope: '/' } as const;
  expect(
    log.take({ ...activated(), authority: { ...allowed, action: 'securitydomain/download/action' } }),
  ).toBeUndefined();
});

it('all of it touches the pool; the transfer key is proven like any key, a restored domain by its token', () => {
  const [key, active, domain] = [transferKeyMade(), activated(), restored(OTHER)];
  for (const mutation of [key, active, domain]) expect(tagsOf(mutation)).toEqual(['pool']);
  expect(sealedIn(key)).toEqual([key.key.sealed]);
  expect([sealedIn(active), sealedIn(domain)]).toEqual([[], []]);
});
