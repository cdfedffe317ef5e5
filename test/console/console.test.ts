// The web console in a real browser on a real pool: what it shows is what there is, with the rights of who is signed in,
// by mouse or keyboard, in any window; and it asks nobody but the fabric.
import { randomUUID } from 'node:crypto';
import type { Browser, Page, Route } from 'playwright-core';
import { at, processesIn, TestPool, until, type Credentials } from '../scenarios/pool.js';
import { launch, Visitor } from './browser.js';

const VIEWS = ['Pool', 'Keys', 'Roles', 'Security domain', 'Audit', 'Meter'];
/** Hostile as far as the service lets tags be. */
const MARKUP = '<img src=x onerror=alert(1)><script>alert(2)</script>';
/** Managed HSM Crypto Auditor. */
const AUDITOR = '2c18b078-7c48-4d3a-af88-5a3a1b3f82b3';
const FAULTS = '/trivet/pools/dev/faults';

let pool: TestPool;
let browser: Browser;
/** A principal of the local login without any role. */
let nobody: Credentials;
/** One who may read keys. */
let auditor: Credentials;
let visitor: Visitor;

beforeAll(async () => {
  [pool, browser] = await Promise.all([TestPool.start(undefined, ['--faults']), launch()]);
  nobody = pool.addPrincipal('nobody');
  auditor = pool.addPrincipal('auditor');
  const client = await pool.client({ keepAlive: true });
  const made = async (name: string, body: Record<string, unknown>): Promise<void> => {
    const { status, body: answer } = await client.call('POST', `/keys/${name}/create`, body);
    if (status !== 200) throw new Error(JSON.stringify(answer));
  };
  await made('signing', { kty: 'EC-HSM', crv: 'P-256' });
  await made('signing', { kty: 'EC-HSM', crv: 'P-256', tags: { markup: MARKUP } });
  await made('old', { kty: 'oct-HSM', key_size: 256 });
  await client.call('PUT', '/keys/signing/rotationpolicy', {
    lifetimeActions: [{ trigger: { timeAfterCreate: 'P90D' }, action: { type: 'Rotate' } }],
  });
  await client.call('DELETE', '/keys/old');
  await client.call('PUT', `/providers/Microsoft.Authorization/roleAssignments/${randomUUID()}`, {
    properties: {
      roleDefinitionId: `Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/${AUDITOR}`,
      principalId: auditor.objectId,
    },
  });
  client.close();
}, 120_000);
afterAll(async () => {
  await browser.close();
  await pool.remove();
});
afterEach(async () => {
  await visitor.leave();
});

/** `faults` is false: as if the pool had been made without them. */
async function enter(options: Parameters<typeof Visitor.open>[2] = {}, faults = false): Promise<Page> {
  visitor = await Visitor.open(browser, pool, options);
  const { page } = visitor;
  if (!faults) await page.route('**/console/pools/dev/faults', (route) => answer(route, { offered: false }));
  await visitor.signIn(pool.admin);
  await page.getByRole('heading', { name: 'Pool dev' }).waitFor();
  return page;
}

function answer(route: Route, body: unknown): Promise<void> {
  return route.fulfill({ status: 200, contentType: 'application/json', body: JSON.stringify(body) });
}

/** What every visit must come to. */
function expectQuiet(): void {
  expect(visitor.complaints).toEqual([]);
  expect(visitor.refused).toEqual([]);
  expect([...visitor.hosts]).toEqual([new URL(pool.ready.controlPlane).host]);
}

const status = (page: Page): Promise<string | null> => page.locator('svg.picture title').textContent();

test('console: signing in shows the pool as it is, and every view, without a complaint of the browser', async () => {
  const page = await enter();
  await page.getByText('3 of 3', { exact: true }).waitFor();
  const { epoch, instances } = pool.ready.pools[0] ?? {};
  expect(await status(page)).toBe(`Pool dev: 3 of 3 partitions in sync, epoch ${String(epoch)}`);
  const primary = instances?.find(({ role }) => role === 'primary')?.id;
  await page.locator(`[data-partition="${String(primary)}"]`, { hasText: '★ primary' }).waitFor();
  await visitor.picture('pool-light');
  for (const view of VIEWS) {
    await visitor.view(view);
    await page.getByRole('heading', { level: 1, name: view === 'Pool' ? 'Pool dev' : view }).waitFor();
    expect(await page.title()).toBe(`${view} · Trivet console`);
    await visitor.picture(`${view.toLowerCase().replace(' ', '-')}-light`);
  }
  expectQuiet();
});

test('console: wrong credentials are refused in place, and the right ones are taken afterwards', async () => {
  visitor = await Visitor.open(browser, pool);
  const { page } = visitor;
  await visitor.signIn({ ...pool.admin, clientSecret: 'wrong' });
  await page.getByRole('alert').filter({ hasText: 'Not signed in.' }).waitFor();
  await visitor.picture('door-refused');
  await page.getByLabel('Client secret').fill(pool.admin.clientSecret);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Pool dev' }).waitFor();
  expect(visitor.refused).toContain('401 /adfs/oauth2/token');
  expect(visitor.complaints).toEqual([]);
});

test('console: a partition that is killed is seen to leave and to come back', async () => {
  const page = await enter();
  await page.getByText('3 of 3', { exact: true }).waitFor();
  const before = Number(/epoch (\d+)/.exec((await status(page)) ?? '')?.[1]);
  const [instance] = (pool.ready.pools[0]?.instances ?? []).filter(({ role }) => role === 'backup');
  const known = new Set(processesIn(pool.directory));
  const successors = (): number[] => processesIn(pool.directory).filter((pid) => !known.has(pid));
  // It is back in less than the time between two looks, so whoever comes in its place is held until it was seen.
  const holding = setInterval(() => {
    for (const pid of successors()) pool.kill(pid, 'SIGSTOP');
  }, 20);
  const gone = page.getByText('One partition is away.');
  try {
    pool.kill(instance?.pid ?? -1);
    await gone.waitFor();
    await visitor.picture('pool-without-one');
  } finally {
    clearInterval(holding);
    for (const pid of successors()) pool.kill(pid, 'SIGCONT');
  }
  await page.getByText('3 of 3', { exact: true }).waitFor();
  await gone.waitFor({ state: 'detached' });
  const after = Number(/epoch (\d+)/.exec((await status(page)) ?? '')?.[1]);
  expect(after).toBeGreaterThan(before);
  await page.locator(`[data-partition="${String(instance?.id)}"]`, { hasText: /life [2-9]/ }).waitFor();
  await pool.inSync();
  expectQuiet();
});

test('console: keys are shown with versions, rotation and tags, which are text whatever they hold', async () => {
  const page = await enter();
  await visitor.view('Keys');
  await page.getByRole('button', { name: 'signing', exact: true }).click();
  const detail = page.getByRole('region', { name: 'signing', exact: true });
  await detail.getByText('2 versions').waitFor();
  expect(await detail.getByRole('row').count()).toBe(3);
  await detail.getByText('EC-HSM, P-256').waitFor();
  await detail.getByText(/^\d{4}-\d\d-\d\d \d\d:\d\d \(P90D after it was made\)$/).waitFor();
  await detail.getByText(MARKUP).waitFor();
  expect(await page.locator('main img, main script').count()).toBe(0);
  await page
    .getByRole('region', { name: 'Deleted keys' })
    .first()
    .getByRole('rowheader', { name: 'old' })
    .waitFor();
  await visitor.picture('key-light');
  await page.getByRole('searchbox', { name: 'Filter' }).fill('nothing like this');
  await page.getByText('No name holds “nothing like this”.').waitFor();
  expectQuiet();
});

test('console: who has no role is refused in words, and sees no data', async () => {
  visitor = await Visitor.open(browser, pool);
  const { page } = visitor;
  await visitor.signIn(nobody);
  await page.getByText('The pool’s state cannot be shown.').waitFor();
  await page.getByLabel('Pool', { exact: true }).fill('dev');
  await page.keyboard.press('Tab');
  for (const [view, what] of [
    ['Keys', 'Keys cannot be shown.'],
    ['Roles', 'Roles cannot be shown.'],
    ['Security domain', 'The state of the download cannot be shown.'],
    ['Audit', 'The audit log cannot be shown.'],
    ['Meter', 'The meter cannot be shown.'],
  ] as const) {
    await visitor.view(view);
    await page.getByRole('alert').filter({ hasText: what }).waitFor();
    if (view === 'Keys') await visitor.picture('keys-refused');
    const shown = await page.locator('main').innerText();
    expect(shown).not.toMatch(/signing|whole HSM|KeyCreate/);
    expect(await page.locator('main table').count()).toBe(0);
  }
  expect(new Set(visitor.refused.map((line) => line.slice(0, 3)))).toEqual(new Set(['403']));
  expect(visitor.complaints).toEqual([]);
});

test('console: who has a role sees what it lets her see, and no more', async () => {
  visitor = await Visitor.open(browser, pool);
  const { page } = visitor;
  await visitor.signIn(auditor);
  await page.getByText('The pool’s state cannot be shown.').waitFor();
  await page.getByLabel('Pool', { exact: true }).fill('dev');
  await page.keyboard.press('Tab');
  await visitor.view('Keys');
  await page.getByRole('button', { name: 'signing', exact: true }).click();
  await page.getByText('2 versions').waitFor();
  await visitor.view('Audit');
  await page.getByRole('alert').filter({ hasText: 'settings/read/action' }).waitFor();
  expect(visitor.complaints).toEqual([]);
});

test('console: roles and the audit log are shown by the names of principals', async () => {
  const page = await enter();
  await visitor.view('Roles');
  const matrix = page.getByRole('region', { name: 'Role matrix' }).first();
  await matrix.getByRole('row', { name: /admin/ }).getByText('whole HSM').first().waitFor();
  expect(
    await matrix
      .getByRole('row', { name: /nobody/ })
      .getByText('whole HSM')
      .count(),
  ).toBe(0);
  await visitor.view('Audit');
  // The newest come first, and what was done before may be beyond the first rows.
  await page.getByRole('searchbox', { name: 'Filter' }).fill('KeyDelete');
  await page.getByRole('row', { name: /KeyDelete 200 admin/ }).waitFor();
  await page.getByRole('cell', { name: '/keys/old' }).waitFor();
  expectQuiet();
});

test('console: everything can be reached and done by keyboard, and the focus is seen', async () => {
  visitor = await Visitor.open(browser, pool);
  const { page } = visitor;
  await visitor.goTo();
  await page.getByLabel('Client id').waitFor();
  await page.keyboard.type(pool.admin.clientId);
  await page.keyboard.press('Tab');
  await page.keyboard.type(pool.admin.clientSecret);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Pool dev' }).waitFor();
  await reach(page, 'Keys');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'signing', exact: true }).waitFor();
  await reach(page, 'signing');
  await page.keyboard.press('Space');
  await page.getByText('2 versions').waitFor();
  await reach(page, 'Sign out');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Sign in to Trivet' }).waitFor();
  expectQuiet();
});

/** Tabs on until what has this text has the focus, which must be visible. */
async function reach(page: Page, text: string): Promise<void> {
  for (let step = 0; step < 60; step += 1) {
    await page.keyboard.press('Tab');
    const [shown, outline] = await page.evaluate<[string, string]>(
      '[document.activeElement.textContent, getComputedStyle(document.activeElement).outlineStyle]',
    );
    if (shown !== text) continue;
    expect(outline).toBe('solid');
    return;
  }
  throw new Error(`${text} is not reached by keyboard`);
}

test.each(['light', 'dark'] as const)('console: fits a window of 360 pixels, %s', async (colorScheme) => {
  const page = await enter(
    { viewport: { width: 360, height: 740 }, colorScheme, reducedMotion: 'reduce' },
    true,
  );
  await page.getByText('3 of 3', { exact: true }).waitFor();
  for (const view of VIEWS) {
    await visitor.view(view);
    await page.getByRole('heading', { level: 1, name: view === 'Pool' ? 'Pool dev' : view }).waitFor();
    if (view === 'Keys') {
      await page.getByRole('button', { name: 'signing', exact: true }).click();
      await page.getByText('2 versions').waitFor();
    }
    expect([view, await visitor.overflow()]).toEqual([view, 0]);
    await visitor.picture(`${view.toLowerCase().replace(' ', '-')}-narrow-${colorScheme}`);
  }
  expectQuiet();
});

test('console: is dark where the reader’s system is, with text that can be read in both', async () => {
  const grounds: string[] = [];
  for (const colorScheme of ['light', 'dark'] as const) {
    const page = await enter({ colorScheme }, true);
    await page.getByText('3 of 3', { exact: true }).waitFor();
    grounds.push(await page.evaluate('getComputedStyle(document.body).backgroundColor'));
    for (const view of VIEWS) {
      await visitor.view(view);
      await page.getByRole('heading', { level: 1, name: view === 'Pool' ? 'Pool dev' : view }).waitFor();
      expect([view, await poorContrasts(page)]).toEqual([view, []]);
    }
    await visitor.view('Pool');
    await visitor.picture(`pool-${colorScheme}`);
    expectQuiet();
    if (colorScheme === 'light') await visitor.leave();
  }
  expect(new Set(grounds).size).toBe(2);
});

/** Texts whose contrast with their ground is below WCAG AA (4.5). */
function poorContrasts(page: Page): Promise<string[]> {
  return page.evaluate(`(() => {
    const channel = (value) => { const c = value / 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
    const parts = (colour) => colour.match(/[0-9.]+/g).map(Number);
    const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
    const groundOf = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const colour = parts(getComputedStyle(at).backgroundColor);
        if (colour.length < 4 || colour[3] > 0) return colour;
      }
      return [255, 255, 255];
    };
    return [...document.querySelectorAll('body *')]
      .filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== ''))
      .filter((one) => one.getClientRects().length > 0 && !one.closest('noscript'))
      .flatMap((one) => {
        const style = getComputedStyle(one);
        const ink = parts(one.closest('svg') ? style.fill : style.color);
        const [dark, bright] = [luminance(ink), luminance(groundOf(one))].sort((a, b) => a - b);
        const ratio = (bright + 0.05) / (dark + 0.05);
        return ratio < 4.5 ? [one.textContent + ' ' + ratio.toFixed(2)] : [];
      });
  })()`);
}

test('console: a script that is slipped in does not run, nor does anything go to another host', async () => {
  visitor = await Visitor.open(browser, pool);
  const { page } = visitor;
  // As if the page itself held it.
  await page.route('**/console/', async (route) => {
    const response = await route.fetch();
    const body = (await response.text()).replace('<body>', '<body><script>window.broken = true</script>');
    await route.fulfill({ response, body });
  });
  await visitor.signIn(pool.admin);
  await page.getByRole('heading', { name: 'Pool dev' }).waitFor();
  await until('the browser has stopped it', () =>
    visitor.complaints.some((line) => /inline script/i.test(line)),
  );
  const stopped = page.evaluate<string[]>(`new Promise((resolve) => {
    const seen = [];
    addEventListener('securitypolicyviolation', ({ effectiveDirective }) => {
      seen.push(effectiveDirective);
      if (seen.length === 4) resolve(seen.sort());
    });
    const script = document.createElement('script');
    script.append('window.broken = true');
    document.body.append(script);
    const style = document.createElement('style');
    style.append('body { display: none }');
    document.body.append(style);
    const image = document.createElement('img');
    image.src = 'https://example.com/x.png';
    fetch('https://example.com/').catch(() => undefined);
  })`);
  expect(await stopped).toEqual(['connect-src', 'img-src', 'require-trusted-types-for', 'style-src-elem']);
  expect(await page.evaluate('window.broken')).toBeUndefined();
  await page.getByRole('heading', { name: 'Pool dev' }).waitFor();
  // The browser has said what it stopped, and asked nobody.
  expect(visitor.complaints.filter((line) => !/Content Security Policy|TrustedScript/.test(line))).toEqual(
    [],
  );
  expect([...visitor.hosts].filter((host) => host === 'example.com')).toEqual([]);
});

test('console: signing out forgets everything, and nothing is ever kept in the browser', async () => {
  const page = await enter();
  const kept = async (): Promise<unknown> => [
    await page.evaluate('[localStorage.length, sessionStorage.length, document.cookie]'),
    await visitor.context.cookies(),
  ];
  expect(await kept()).toEqual([[0, 0, ''], []]);
  const asked: string[] = [];
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByText('You have signed out.').waitFor();
  visitor.context.on('request', (request) => asked.push(request.url()));
  expect(await page.evaluate("[...document.querySelectorAll('input')].map(({ value }) => value)")).toEqual([
    '',
    '',
  ]);
  await page.goBack();
  await page.goto(`${visitor.origin}/console/#/keys`);
  await page.getByRole('heading', { name: 'Sign in to Trivet' }).waitFor();
  expect(await page.locator('body').innerText()).not.toContain('signing');
  expect(await kept()).toEqual([[0, 0, ''], []]);
  expect(asked.filter((url) => /\/(trivet|data)\//.test(url))).toEqual([]);
  expectQuiet();
});

test('console: faults have buttons only where the fabric offers them', async () => {
  const page = await enter();
  await page.getByText('3 of 3', { exact: true }).waitFor();
  expect(await page.getByRole('heading', { name: 'Faults' }).count()).toBe(0);
  expectQuiet();
});

test('console: buttons unplug a partition, clear rules, and wipe a partition when that was confirmed', async () => {
  const control = await pool.control();
  const rules = [{ operations: ['KeySign'], latency: { kind: 'constant', ms: 5 } }];
  expect((await control.call('PUT', FAULTS, { rules })).status).toBe(200);
  const page = await enter({}, true);
  await page.getByText('3 of 3', { exact: true }).waitFor();
  const buttons = page.getByRole('group', { name: 'Faults of partition 1' });

  await buttons.getByRole('button', { name: 'Unplug' }).click();
  await page.getByText('Partition 1 was unplugged.').waitFor();
  await page.getByText('2 of 3', { exact: true }).waitFor();
  await visitor.picture('unplugged');
  await buttons.getByRole('button', { name: 'Replug' }).click();
  await page.getByText('3 of 3', { exact: true }).waitFor();

  await page.getByText(JSON.stringify(rules[0])).waitFor();
  await page.getByRole('button', { name: 'Clear all rules' }).click();
  await page.getByText('None: requests are answered as they come.').waitFor();
  expect(at((await control.call('GET', FAULTS)).body, 'rules')).toEqual([]);

  const [, before] = pool.instancePids;
  await buttons.getByRole('button', { name: 'Wipe …' }).click();
  const dialog = page.getByRole('dialog', { name: 'Wipe partition 1?' });
  await dialog.waitFor();
  await visitor.picture('wipe-light');
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  await pool.inSync();
  const [, unwiped] = pool.instancePids;
  expect(unwiped).not.toBe(before); // it was unplugged
  await buttons.getByRole('button', { name: 'Wipe …' }).click();
  await dialog.getByRole('button', { name: 'Wipe it' }).click();
  await page.getByText('Partition 1 was wiped.').waitFor();
  await until('it is another process', async () => {
    await pool.inSync();
    return pool.instancePids[1] !== unwiped;
  });
  expectQuiet();
});

test('console: a lost connection is shown, and gone when the fabric answers again', async () => {
  const page = await enter();
  await page.getByText('3 of 3', { exact: true }).waitFor();
  await page.route('**/trivet/status', (route) => route.abort('connectionrefused'));
  await page.getByText(/^No answer from the fabric since/).waitFor();
  await page.getByText('connection lost').waitFor();
  await visitor.picture('connection-lost');
  await page.unroute('**/trivet/status');
  await page.getByText(/^No answer from the fabric since/).waitFor({ state: 'detached' });
  await page.getByText('● live', { exact: true }).waitFor();
  expect(visitor.complaints.filter((line) => !line.includes('net::ERR_CONNECTION_REFUSED'))).toEqual([]);
});

test('console: where pools do not believe the local login, it shows the control plane’s side and says so', async () => {
  visitor = await Visitor.open(browser, pool);
  const { page } = visitor;
  await page.route('**/adfs/oauth2/token', (route) =>
    route.request().postData()?.includes('managedhsm.azure.net')
      ? route.fulfill({
          status: 400,
          contentType: 'application/json',
          body: JSON.stringify({
            error_description:
              'AADSTS500011: The local login is switched off for pools. Trace ID: 1 Timestamp: 2',
          }),
        })
      : route.fallback(),
  );
  await visitor.signIn(pool.admin);
  await page.getByText('3 of 3', { exact: true }).waitFor();
  await visitor.view('Keys');
  await page.getByText('The local login is switched off for pools.', { exact: true }).waitFor();
  expect(visitor.refused).toEqual(['400 /adfs/oauth2/token']);
  expect(visitor.complaints).toEqual([]);
});

test('console: a pool that waits, and one without a key, say what to do next', async () => {
  const page = await enter();
  await page.route('**/data/keys', (route) => answer(route, { value: [] }));
  await visitor.view('Keys');
  await page.getByText('trivet key create NAME').waitFor();
  await page.route('**/trivet/status', async (route) => {
    const response = await route.fetch();
    const known = (await response.json()) as { pools: { name: string }[] };
    const [dev] = known.pools;
    const pools = [dev, { ...dev, name: 'second', activation: 'NotActivated' }];
    await route.fulfill({ response, body: JSON.stringify({ ...known, pools }) });
  });
  await page.getByRole('combobox', { name: 'Pool' }).selectOption('second');
  await page.getByText('This pool is not active yet.').waitFor();
  await visitor.view('Pool');
  await page.getByRole('heading', { name: 'Pool second' }).waitFor();
  await page.getByRole('main').getByRole('link', { name: 'Security domain' }).click();
  await page.getByText('This pool waits for its security domain.').waitFor();
  await page.getByText('trivet security-domain make-keys --out ceremony --count 3').waitFor();
  await visitor.picture('security-domain-waiting');
  expectQuiet();
});

test('console: a token that is not believed any more ends the session', async () => {
  const page = await enter();
  await page.route('**/trivet/status', (route) =>
    route.fulfill({ status: 401, contentType: 'application/json', body: '{"error":{"message":"no"}}' }),
  );
  await page.getByText('The session has ended: the fabric does not believe its token any more.').waitFor();
  await page.getByRole('heading', { name: 'Sign in to Trivet' }).waitFor();
});
