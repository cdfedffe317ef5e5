// The rules, the dashboard and the page on monitoring speak of metrics that there are, and the page of all of them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { scrape } from '../../../src/fabric/control/metrics.js';

const docs = join(__dirname, '../../../docs');

function namesIn(file: string): Set<string> {
  const names = readFileSync(join(docs, file), 'utf8').match(/\btrivet_[a-z_]+[a-z]/g) ?? [];
  return new Set(names.map((name) => name.replace(/_(?:bucket|sum|count)$/, '')));
}

async function offered(): Promise<string[]> {
  const { text } = await scrape([
    {
      status: () => ({
        name: 'dev',
        uri: '',
        activation: 'Active',
        ownerFingerprint: null,
        epoch: 1,
        instances: [],
      }),
      care: () => [],
      figures: () => Promise.resolve([]),
    },
  ]);
  return [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name = '']) => name);
}

test.each([
  'monitoring.md',
  'monitoring/alerts.yml',
  'monitoring/alerts.test.yml',
  'monitoring/dashboard.json',
])('monitoring: %s names no metric that there is not', async (file) => {
  const all = await offered();
  expect([...namesIn(file)].filter((name) => !all.includes(name))).toEqual([]);
});

test('monitoring: every metric is described', async () => {
  const described = namesIn('monitoring.md');
  expect((await offered()).filter((name) => !described.has(name))).toEqual([]);
});
