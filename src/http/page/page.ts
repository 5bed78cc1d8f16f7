/**
 * GET /: the status page. Three kinds of files, no build step, nothing from elsewhere: the browser is told to load
 * only what comes from this node, and to run no script that stands in the page itself.
 */
import { createHash } from 'node:crypto';
import type { Exchange, Route } from '../router.ts';
import { PAGE_FILES } from './files.ts';

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ');

/** The page at /, and what it loads below /page/. */
export function pageRoutes(): Route[] {
  return Object.entries(PAGE_FILES).map(([name, text]) => {
    const type = TYPES[name.slice(name.lastIndexOf('.') + 1)];
    const path = name === 'status.html' ? '/' : `/page/${name}`;
    return { method: 'GET', path, access: 'public', handle: fileSender(Buffer.from(text), type) };
  });
}

function fileSender(body: Buffer, type: string): (exchange: Exchange) => void {
  const etag = `"${createHash('sha256').update(body).digest('base64url')}"`;
  const headers = {
    etag,
    // Asked for anew each time, so that a page and its scripts are of one version.
    'cache-control': 'no-cache',
    'content-security-policy': POLICY,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
  };
  return ({ request, response }) => {
    if (request.headers['if-none-match'] === etag) response.writeHead(304, headers);
    else
      response.writeHead(200, { ...headers, 'content-type': type, 'content-length': body.length });
    response.end(response.statusCode === 200 ? body : undefined);
  };
}
