/** Requests through the proxies, against the same application without: needs `wrk`. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { ProxiedCluster } from '../../test/harness/proxied.ts';
import { WebClient } from '../../test/harness/web-client.ts';
import type { Aim, Figure } from './figures.ts';
import type { Plan } from './plan.ts';
import { type Case, inTurn } from './rounds.ts';

const SMALL_AIM: Aim = { of: 'ratio', least: 0.6 };
const LARGE_AIM: Aim = { of: 'ratio', least: 0.9 };
const LARGE_BYTES = 100_000;
const PAGE_ROWS = 1000;
const CONNECTIONS = 16;
const POST_SCRIPT = path.resolve(import.meta.dirname, 'jobs/post.lua');

export async function measureProxy({ rounds, windowMs }: Plan): Promise<Figure[]> {
  const cluster = await ProxiedCluster.start();
  const client = new WebClient();
  try {
    const { primary, replica } = cluster;
    await client.post(primary.port, '/keys/a?value=1');
    await client.fetch(replica.port, '/keys/a');
    const seconds = Math.ceil((windowMs * 2) / 1000);
    const load = (place: string, port: number, target: string, script?: string): Case => ({
      place,
      run: () => wrk(`http://127.0.0.1:${port}${target}`, seconds, script),
    });
    const figures: Figure[] = [];
    for (const [what, target, aim] of [
      ['a small answer, one row of SQLite', '/keys/a', SMALL_AIM],
      ['a page of 100 kB, 1,000 rows of SQLite', `/page/${PAGE_ROWS}`, LARGE_AIM],
      ['100 kB from memory', `/bytes/${LARGE_BYTES}`, undefined],
    ] as const) {
      const places = ['primary, through the proxy', 'replica, through the proxy'];
      const cases = [
        load('the application alone', primary.appPort, target),
        load(places[0], primary.port, target),
        load(places[1], replica.port, target),
      ];
      const aims = aim && Object.fromEntries(places.map((place) => [place, aim]));
      figures.push(
        ...(await inTurn(rounds, cases, [
          { key: 'rate', what, unit: 'requests/s', aims },
          { key: 'p99', what: `${what}, p99`, unit: 'ms' },
        ])),
      );
    }
    const write = '/keys/b?value=1';
    figures.push(
      ...(await inTurn(
        rounds,
        [
          load('the application alone', primary.appPort, write, POST_SCRIPT),
          load('primary, through the proxy', primary.port, write, POST_SCRIPT),
          load('replica, forwarded to the primary', replica.port, write, POST_SCRIPT),
        ],
        [
          { key: 'rate', what: 'a write', unit: 'requests/s' },
          { key: 'p99', what: 'a write, p99', unit: 'ms' },
        ],
      )),
    );
    return figures;
  } finally {
    client.close();
    await cluster.close();
  }
}

/** Requests per second, and the 99th percentile in ms. Throws when an answer was not 200. */
async function wrk(
  url: string,
  seconds: number,
  script?: string,
): Promise<{ rate: number; p99: number }> {
  const args = ['-t1', `-c${CONNECTIONS}`, `-d${seconds}s`, '--latency'];
  if (script) args.push('-s', script);
  const child = spawn('wrk', [...args, url], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (output += text));
  await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  const rate = /Requests\/sec:\s+([\d.]+)/.exec(output)?.[1];
  const [, p99, unit] = /99%\s+([\d.]+)(us|ms|s)/.exec(output) ?? [];
  if (rate === undefined || p99 === undefined || /Non-2xx|Socket errors/.test(output)) {
    throw new Error(`wrk ${url}: ${output}`);
  }
  return { rate: Number(rate), p99: Number(p99) * { us: 0.001, ms: 1, s: 1000 }[unit as 'ms'] };
}
