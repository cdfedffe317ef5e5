// What watches the installation: metrics for Prometheus, which brings the token of the file `metrics-token`, and two
// questions without a token whose answers say nothing but yes or no.
import { createHash, timingSafeEqual } from 'node:crypto';
import { createRequire } from 'node:module';
import express from 'express';
import type { Router } from 'express';
import { ControlRefusal } from './errors.js';
import type { MeasuredPool } from './metrics.js';

export interface MonitoringParts {
  /** What a scrape must bring as its bearer token. */
  readonly token: string;
  readonly pools: () => readonly MeasuredPool[];
}

export function monitoringRoutes({ token, pools }: MonitoringParts): Router {
  const routes = express.Router();
  const wanted = sha256(token);
  routes.get('/metrics', async (request, response) => {
    const given = /^Bearer +(\S+)$/i.exec(request.get('authorization') ?? '')?.[1];
    if (given === undefined || !timingSafeEqual(sha256(given), wanted)) {
      response.set('WWW-Authenticate', 'Bearer realm="metrics"');
      throw new ControlRefusal(
        'AuthenticationFailed',
        'A scrape brings the token of the file metrics-token in the data directory as its bearer token.',
      );
    }
    // Loaded by who is scraped only: it takes longer than most of a start.
    const metrics = createRequire(__filename)('./metrics.js') as typeof import('./metrics.js');
    const { text, type } = await metrics.scrape(pools());
    response.type(type).send(text);
  });
  routes.get('/healthz', (_request, response) => {
    response.type('text/plain').send('ok\n');
  });
  routes.get('/readyz', (_request, response) => {
    // Reads and cryptography go on with one of three; that is what ready means to who sends traffic here.
    const ready = pools().every((pool) => pool.status().instances.some(({ inSync }) => inSync));
    response
      .status(ready ? 200 : 503)
      .type('text/plain')
      .send(ready ? 'ready\n' : 'not ready\n');
  });
  return routes;
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
