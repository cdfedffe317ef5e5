import { ipRangeIn, ipRuleProblem, privateAddress } from '../../src/values/network.js';

test.each([
  ['20.1.2.3', { address: '20.1.2.3', prefix: 32 }],
  ['20.1.2.0/24', { address: '20.1.2.0', prefix: 24 }],
  ['0.0.0.0/0', { address: '0.0.0.0', prefix: 0 }],
  ['127.0.0.2/31', { address: '127.0.0.2', prefix: 31 }],
  ['20.1.2.3/33', undefined],
  ['20.1.2.3/', undefined],
  ['20.1.2.3/08', undefined],
  ['20.1.2.3/-1', undefined],
  ['20.1.2/24', undefined],
  ['20.1.2.256', undefined],
  ['020.1.2.3', undefined],
  [' 20.1.2.3', undefined],
  ['::1', undefined],
  ['', undefined],
])('network: the range of %j is %j', (rule, range) => {
  expect(ipRangeIn(rule)).toEqual(range);
});

test.each([
  ['20.1.2.0/24', undefined],
  ['127.0.0.2', undefined],
  ['172.15.255.255', undefined],
  ['172.32.0.0/16', undefined],
  ['10.0.0.0/8', /RFC 1918/],
  ['10.20.30.40', /RFC 1918/],
  ['172.16.0.0/12', /RFC 1918/],
  ['172.31.255.255/32', /RFC 1918/],
  ['192.168.7.0/24', /RFC 1918/],
  ['2001:db8::/32', /IPv6/],
  ['::1', /IPv6/],
  ['::ffff:20.1.2.3', /IPv6/],
  ['everybody', /no IPv4 address/],
  ['20.1.2.3/33', /no IPv4 address/],
  ['x'.repeat(500), /'x{64}' is no IPv4/],
])('network: the rule %j is refused with %p', (rule, problem) => {
  if (problem) expect(ipRuleProblem(rule)).toMatch(problem);
  else expect(ipRuleProblem(rule)).toBeUndefined();
});

const endpoint = (name: string): string =>
  `/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/privateEndpoints/${name}`;

test('network: a private endpoint stands for the address that is its name', () => {
  expect(privateAddress(endpoint('127.0.0.3'))).toBe('127.0.0.3');
  expect(privateAddress(endpoint('10.0.0.3'))).toBe('10.0.0.3');
  expect(privateAddress(endpoint('127.0.0.3').toUpperCase())).toBe('127.0.0.3');
  expect(privateAddress(endpoint('office'))).toBeUndefined();
  expect(privateAddress(endpoint('127.0.0.3/24'))).toBeUndefined();
  expect(privateAddress('127.0.0.3')).toBeUndefined();
});
