// The API of a pool that waits for its security domain.
import { foundPool } from '../../../src/instance/hsm/found.js';
import { FakeHsm, OPERATOR, TENANT } from '../hsm/fake-hsm.js';
import { Served } from './served.js';

export function waiting(): Promise<Served> {
  return Served.start(undefined, async (issuers) => {
    const hsm = new FakeHsm([], false);
    await foundPool(hsm, 'dev', 'managedhsm.localhost', 'dddddddd-0000-4000-8000-000000000001', {
      tenantId: TENANT,
      administrators: [OPERATOR],
      cryptoUsers: [],
      issuers,
      retentionDays: 90,
      purgeProtection: false,
    });
    return hsm;
  });
}
