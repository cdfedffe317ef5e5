// What a pool trusts, as lists: who changes them, what may be on them, and that none becomes empty.
import { generateKeyPairSync } from 'node:crypto';
import { tagsOf } from '../../../src/instance/model/judge.js';
import { sealedIn, type TrustChange, type TrustChanged } from '../../../src/instance/model/mutation.js';
import { POOL } from '../../../src/instance/model/pool.js';
import { isHostKey, isMeasurement, TRUSTED_MAX } from '../../../src/instance/model/trust.js';
import { ADMIN, founded, foundedLog, Log, nextId, NOW } from './fixtures.js';

const measurementOf = (number: number): string => number.toString(16).padStart(64, '0');
const ISSUER = { issuer: 'https://a.example.net/' };

function newHost(kind: 'ed25519' | 'x25519' = 'ed25519'): string {
  // One signature of the overloads takes both.
  const { publicKey } = generateKeyPairSync(kind as 'ed25519');
  return publicKey.export({ format: 'der', type: 'spki' }).toString('base64url');
}

function changed(change: TrustChange, more: Partial<TrustChanged> = {}): TrustChanged {
  return { kind: 'TrustChanged', id: nextId(), time: NOW, change, ...more };
}

const host = newHost();
function trusting(): Log {
  return foundedLog({ issuers: [ISSUER], trust: { hosts: [host], measurements: [measurementOf(0)] } });
}
const poolIn = (log: Log) => log.state.get('pool', POOL);

describe('trust', () => {
  it('is what the pool was founded with; a pool founded with none has none', () => {
    expect(poolIn(trusting())?.trust).toEqual({ hosts: [host], measurements: [measurementOf(0)] });
    expect(poolIn(foundedLog())?.trust).toEqual({ hosts: [], measurements: [] });
  });

  it('takes more hosts and measurements, each once, and gives them up again', () => {
    const log = trusting();
    const second = newHost();
    for (const round of [1, 2]) {
      expect([round, log.take(changed({ list: 'hosts', add: second }))]).toEqual([round, undefined]);
      expect(log.take(changed({ list: 'measurements', add: measurementOf(1) }))).toBeUndefined();
      expect(poolIn(log)?.trust).toEqual({
        hosts: [host, second],
        measurements: [measurementOf(0), measurementOf(1)],
      });
    }
    expect(log.take(changed({ list: 'hosts', remove: host }))).toBeUndefined();
    expect(log.take(changed({ list: 'measurements', remove: measurementOf(0) }))).toBeUndefined();
    expect(poolIn(log)?.trust).toEqual({ hosts: [second], measurements: [measurementOf(1)] });
  });

  it('takes more issuers, one in place of the one of its name, and gives them up again', () => {
    const log = trusting();
    const other = { issuer: 'https://b.example.net/', audience: 'one' };
    log.take(changed({ list: 'issuers', add: other }));
    log.take(changed({ list: 'issuers', add: { ...other, audience: 'two' } }));
    expect(poolIn(log)?.issuers).toEqual([ISSUER, { ...other, audience: 'two' }]);
    expect(log.take(changed({ list: 'issuers', remove: ISSUER.issuer }))).toBeUndefined();
    expect(poolIn(log)?.issuers).toEqual([{ ...other, audience: 'two' }]);
  });

  it.each<[TrustChange]>([
    [{ list: 'hosts', remove: host }],
    [{ list: 'measurements', remove: measurementOf(0) }],
    [{ list: 'issuers', remove: ISSUER.issuer }],
  ])('keeps the last one: %j', (change) => {
    const log = trusting();
    const before = poolIn(log);
    expect(log.take(changed(change))).toBe('TrustNeeded');
    expect(poolIn(log)).toBe(before);
  });

  it('does not give up what it does not have', () => {
    for (const list of ['hosts', 'measurements', 'issuers'] as const) {
      const change = list === 'issuers' ? { list, remove: 'none' } : { list, remove: 'none' };
      expect([list, trusting().take(changed(change))]).toEqual([list, 'TrustNotFound']);
    }
  });

  it(`has ${TRUSTED_MAX} entries a list and no more`, () => {
    const log = trusting();
    for (let number = 1; number < TRUSTED_MAX; number += 1) {
      expect(log.take(changed({ list: 'measurements', add: measurementOf(number) }))).toBeUndefined();
      expect(log.take(changed({ list: 'issuers', add: { issuer: `https://${number}/` } }))).toBeUndefined();
      expect(log.take(changed({ list: 'hosts', add: newHost() }))).toBeUndefined();
    }
    expect(log.take(changed({ list: 'measurements', add: measurementOf(TRUSTED_MAX) }))).toBe(
      'TooMuchTrusted',
    );
    expect(log.take(changed({ list: 'issuers', add: { issuer: 'https://more/' } }))).toBe('TooMuchTrusted');
    expect(log.take(changed({ list: 'hosts', add: newHost() }))).toBe('TooMuchTrusted');
    // What is there already takes no more room.
    expect(log.take(changed({ list: 'measurements', add: measurementOf(1) }))).toBeUndefined();
    expect(
      log.take(changed({ list: 'issuers', add: { issuer: 'https://1/', audience: 'x' } })),
    ).toBeUndefined();
  });

  it('takes nothing that is no host or measurement', () => {
    const standard = Buffer.from(host, 'base64url').toString('base64');
    const wrong = ['', 'x', newHost('x25519'), `${host}AA`, host.slice(0, -2), `${host}=`, standard];
    for (const add of wrong) {
      if (add !== host)
        expect([add, trusting().take(changed({ list: 'hosts', add }))]).toEqual([add, 'BadParameter']);
    }
    for (const add of ['', 'x', 'AB'.repeat(32), 'ab'.repeat(31), `${'ab'.repeat(32)}\n`]) {
      expect([add, isMeasurement(add)]).toEqual([add, false]);
      expect(trusting().take(changed({ list: 'measurements', add }))).toBe('BadParameter');
    }
    expect([isHostKey(host), isMeasurement('ab'.repeat(32))]).toEqual([true, true]);
  });

  it('is changed in an active pool only, by who may then', () => {
    const waiting = new Log();
    waiting.take(founded({ trust: { hosts: [host], measurements: [measurementOf(0)] } }));
    const change = { list: 'measurements', add: measurementOf(1) } as const;
    expect(waiting.take(changed(change))).toBe('NotActivated');
    const by = (objectId: string) =>
      ({ caller: { objectId, groups: [] }, action: 'settings/write/action', scope: '/' }) as const;
    const log = trusting();
    expect(log.take(changed(change, { authority: by('nobody') }))).toBe('NotPermitted');
    expect(log.take(changed(change, { authority: by(ADMIN) }))).toBeUndefined();
  });

  it('is the pool’s: every read waits for its change, which needs no slot', () => {
    const mutation = changed({ list: 'hosts', add: host });
    expect([tagsOf(mutation), sealedIn(mutation)]).toEqual([['pool'], []]);
  });
});
