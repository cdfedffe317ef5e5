// Who may come in: the decision by itself, and what a server makes of it, on open connections too.
import { Agent } from 'node:https';
import { Firewall, admissionBy } from '../../../src/instance/api/firewall.js';
import { OPEN_NETWORK, type NetworkRules } from '../../../src/values/network.js';
import { askFrom, RELAY, Served, textOf, tokenFor } from './served.js';

const DENY: NetworkRules = { ...OPEN_NETWORK, defaultAction: 'Deny' };
const CLOSED: NetworkRules = { ...OPEN_NETWORK, publicNetworkAccess: 'Disabled' };
const endpoint = (name: string): { name: string; endpoint: string } => ({
  name: 'one',
  endpoint: `/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/privateEndpoints/${name}`,
});

describe('admission', () => {
  test.each<[string, NetworkRules, string | undefined, boolean]>([
    ['open to all', OPEN_NETWORK, '20.1.2.3', true],
    ['open to all, address unknown', OPEN_NETWORK, undefined, true],
    ['open to all, whatever the rules name', { ...OPEN_NETWORK, ipRules: ['20.0.0.0/8'] }, '30.1.2.3', true],
    ['deny by default', DENY, '127.0.0.1', false],
    ['deny by default, trusted services', { ...DENY, bypass: 'AzureServices' }, '127.0.0.1', false],
    ['deny by default, service tag', { ...DENY, serviceTags: ['AzureCloud'] }, '127.0.0.1', false],
    ['deny by default, subnet', { ...DENY, virtualNetworkRules: ['/subnets/a'] }, '127.0.0.1', false],
    ['a named address', { ...DENY, ipRules: ['20.1.2.3'] }, '20.1.2.3', true],
    ['beside a named address', { ...DENY, ipRules: ['20.1.2.3'] }, '20.1.2.4', false],
    ['the first of a network', { ...DENY, ipRules: ['20.1.2.0/24'] }, '20.1.2.0', true],
    ['the last of a network', { ...DENY, ipRules: ['20.1.2.0/24'] }, '20.1.2.255', true],
    ['behind a network', { ...DENY, ipRules: ['20.1.2.0/24'] }, '20.1.3.0', false],
    ['a network written by one of its addresses', { ...DENY, ipRules: ['20.1.2.7/24'] }, '20.1.2.200', true],
    ['one of several', { ...DENY, ipRules: ['20.1.2.3', '127.0.0.2/31'] }, '127.0.0.3', true],
    ['every address', { ...DENY, ipRules: ['0.0.0.0/0'] }, '30.1.2.3', true],
    ['every address, IPv6', { ...DENY, ipRules: ['0.0.0.0/0'] }, '2001:db8::1', false],
    ['IPv4 on a socket of both families', { ...DENY, ipRules: ['20.1.2.3'] }, '::ffff:20.1.2.3', true],
    ['another on a socket of both families', { ...DENY, ipRules: ['20.1.2.3'] }, '::ffff:20.1.2.4', false],
    ['a rule that nobody can read', { ...DENY, ipRules: ['everybody'] }, '20.1.2.3', false],
    ['deny by default, address unknown', { ...DENY, ipRules: ['0.0.0.0/0'] }, undefined, false],
    ['closed to the public', CLOSED, '127.0.0.1', false],
    ['closed to the public, whatever is named', { ...CLOSED, ipRules: ['20.1.2.3'] }, '20.1.2.3', false],
    ['a private endpoint', { ...CLOSED, privateEndpoints: [endpoint('127.0.0.3')] }, '127.0.0.3', true],
    [
      'beside a private endpoint',
      { ...CLOSED, privateEndpoints: [endpoint('127.0.0.3')] },
      '127.0.0.4',
      false,
    ],
    [
      'a private endpoint, deny by default',
      { ...DENY, privateEndpoints: [endpoint('10.0.0.3')] },
      '10.0.0.3',
      true,
    ],
    [
      'a private endpoint of another name',
      { ...CLOSED, privateEndpoints: [endpoint('office')] },
      '127.0.0.1',
      false,
    ],
  ])('%s', (_, rules, address, admitted) => {
    expect(admissionBy(rules)(address)).toBe(admitted);
  });

  test('rules that have changed hold from then on', () => {
    const firewall = new Firewall();
    expect(firewall.admits('127.0.0.2')).toBe(true);
    firewall.change(DENY);
    expect(firewall.admits('127.0.0.2')).toBe(false);
    firewall.change({ ...DENY, ipRules: ['127.0.0.2'] });
    expect(firewall.admits('127.0.0.2')).toBe(true);
  });
});

describe('firewall', () => {
  let served: Served;
  let agents: Agent[] = [];
  const from = (localAddress: string): Agent => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false, localAddress });
    agents.push(agent);
    return agent;
  };

  beforeAll(async () => {
    served = await Served.start();
  });
  afterEach(() => {
    served.firewall.change(OPEN_NETWORK);
    for (const agent of agents) agent.destroy();
    agents = [];
  });
  afterAll(() => served.stop());

  test('an address that may not come in is refused in the form of the service, and the others are served', async () => {
    served.firewall.change({ ...DENY, ipRules: ['127.0.0.2/31'] });
    for (const address of ['127.0.0.2', '127.0.0.3']) {
      expect((await askFrom(served, from(address), 'GET', '/keys')).status).toBe(200);
    }
    const refused = await askFrom(served, from('127.0.0.4'), 'GET', '/keys');
    expect(refused.status).toBe(403);
    expect(refused.json['error']).toEqual({
      code: 'Forbidden',
      innererror: { code: 'ForbiddenByFirewall' },
      message: expect.stringMatching(
        /^The address of the client is not authorized \(Activity ID: [0-9a-f-]{36}\)$/,
      ) as string,
    });
    expect(refused.headers['x-ms-request-id']).toBeDefined();
  });

  test('who may not come in is not asked for a token, learns nothing of paths, and is recorded', async () => {
    served.firewall.change(DENY);
    const before = served.audit.records.length;
    for (const path of ['/keys', '/nowhere', '/trivet/openapi.json']) {
      expect((await served.ask('GET', path, { token: null })).status).toBe(403);
    }
    const records = served.audit.records.slice(before);
    expect(
      records.map(({ operationName, resultDescription, httpStatusCode, callerIpAddress }) => [
        operationName,
        resultDescription,
        httpStatusCode,
        callerIpAddress,
      ]),
    ).toEqual(Array(3).fill(['Authentication', 'ForbiddenByFirewall', 403, '127.0.0.1']));
  });

  test('rules that change count on a connection that is open', async () => {
    const agent = from('127.0.0.2');
    const statusNow = async (): Promise<number> => (await askFrom(served, agent, 'GET', '/keys')).status;
    expect(await statusNow()).toBe(200);
    const [socket] = Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? []);
    const port = (): unknown => Object.values(agent.freeSockets).flatMap((all) => all ?? [])[0];
    served.firewall.change(DENY);
    expect(await statusNow()).toBe(403);
    served.firewall.change({ ...DENY, ipRules: ['127.0.0.2'] });
    expect(await statusNow()).toBe(200);
    served.firewall.change(CLOSED);
    expect(await statusNow()).toBe(403);
    // One connection all along.
    expect(socket).toBeDefined();
    expect(port()).toBe(socket);
  });

  test('the control plane is not held up, and nobody else is taken for it', async () => {
    served.firewall.change(CLOSED);
    const token = await tokenFor(served.hsm, { aud: RELAY.audiences[0] });
    const relayed = await served.ask('GET', '/keys', { token, headers: { 'x-trivet-relay': RELAY.secret } });
    // The setting is off, and says so: the firewall does not.
    expect(textOf(relayed.json['error']?.['innererror']?.['code'])).toBe('ArmNotAllowed');
    for (const secret of ['', 'another secret', `${RELAY.secret}x`, RELAY.secret.slice(1)]) {
      const { json } = await served.ask('GET', '/keys', { token, headers: { 'x-trivet-relay': secret } });
      expect(textOf(json['error']?.['innererror']?.['code'])).toBe('ForbiddenByFirewall');
    }
  });
});
