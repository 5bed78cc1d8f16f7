/** 103 Early Hints: what a browser may fetch while the application still works on its answer. */
import type http from 'node:http';

const EARLY_HINTS = 103;
/** A few are of use; a stream of them is not. */
const HINTS_MAX = 8;

/** Passes them on as they come, each with its links and nothing else. HTTP/1.0 does not know them. */
export function passHints(
  upward: http.ClientRequest,
  request: Pick<http.IncomingMessage, 'httpVersion'>,
  response: http.ServerResponse,
): void {
  if (request.httpVersion === '1.0') return;
  let passed = 0;
  upward.on('information', ({ statusCode, rawHeaders }) => {
    if (statusCode !== EARLY_HINTS || response.headersSent || response.destroyed) return;
    const links = rawHeaders.filter(
      (value, i) =>
        i % 2 === 1 && /^link$/i.test(rawHeaders[i - 1]) && /^[\t\x20-\x7e]+$/.test(value),
    );
    if (links.length === 0 || ++passed > HINTS_MAX) return;
    response.writeInformation(EARLY_HINTS, { Link: links });
  });
}
