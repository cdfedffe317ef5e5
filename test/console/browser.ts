// A browser without a window on a pool's console. Notes all that should not happen: errors in the browser's console,
// requests to any other host, scripts or styles that the page's policy had to stop.
import { mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import type { Browser, BrowserContext, BrowserContextOptions, Page, Request } from 'playwright-core';
import type { Credentials, TestPool } from '../scenarios/pool.js';

/** Where pictures of the pages are left, for who looks at them. */
export const pictures = process.env['SCREENSHOTS'] ?? mkdtempSync(join(tmpdir(), 'trivet-console-'));
mkdirSync(pictures, { recursive: true });

export function launch(): Promise<Browser> {
  const executablePath = process.env['TRIVET_BROWSER'] ?? '/usr/bin/chromium';
  // As root, as in a container, Chromium runs without its sandbox only; it loads nothing but what is tested here.
  return chromium.launch({ executablePath, args: process.getuid?.() === 0 ? ['--no-sandbox'] : [] });
}

/** One visitor with a memory of her own. */
export class Visitor {
  /** What the browser has complained of. */
  readonly complaints: string[] = [];
  /** Requests that were refused, as `status path`: the browser notes each as an error, and a test expects it or not. */
  readonly refused: string[] = [];
  /** Hosts that anything was asked of, with their ports. */
  readonly hosts = new Set<string>();

  private constructor(
    readonly context: BrowserContext,
    readonly page: Page,
    readonly origin: string,
  ) {}

  static async open(browser: Browser, pool: TestPool, options: BrowserContextOptions = {}): Promise<Visitor> {
    // The certificate is checked by the tests of the control port; a browser would want it in a database of its own.
    const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
    const page = await context.newPage();
    const visitor = new Visitor(context, page, pool.ready.controlPlane);
    page.on('console', (message) => {
      if (message.type() !== 'error' && message.type() !== 'warning') return;
      const { url } = message.location();
      const [, status] =
        /^Failed to load resource: the server responded with a status of (\d+)/.exec(message.text()) ?? [];
      if (status === undefined) visitor.complaints.push(message.text());
      else visitor.refused.push(`${status} ${new URL(url).pathname}`);
    });
    page.on('pageerror', (error) => visitor.complaints.push(String(error)));
    const asked = (request: Request): void => {
      const { protocol, host } = new URL(request.url());
      if (protocol !== 'data:') visitor.hosts.add(host);
    };
    context.on('requestfinished', asked);
    context.on('requestfailed', (request) => {
      // What the page's policy has stopped never left the browser.
      if (request.failure()?.errorText !== 'csp') asked(request);
    });
    return visitor;
  }

  async goTo(view = ''): Promise<void> {
    await this.page.goto(`${this.origin}/console/${view === '' ? '' : `#/${view}`}`);
  }

  async signIn({ clientId, clientSecret }: Pick<Credentials, 'clientId' | 'clientSecret'>): Promise<void> {
    await this.goTo();
    await this.page.getByLabel('Client id').fill(clientId);
    await this.page.getByLabel('Client secret').fill(clientSecret);
    await this.page.getByRole('button', { name: 'Sign in' }).click();
  }

  async view(name: string): Promise<void> {
    await this.page
      .getByRole('navigation', { name: 'Views' })
      .getByRole('link', { name, exact: true })
      .click();
  }

  async picture(name: string): Promise<void> {
    await this.page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
  }

  /** Pixels that the page is wider than its window. */
  overflow(): Promise<number> {
    return this.page.evaluate('document.documentElement.scrollWidth - innerWidth');
  }

  async leave(): Promise<void> {
    await this.context.close();
  }
}
