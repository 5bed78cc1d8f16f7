/**
 * An answer to a client that is still sending. A connection that is closed with bytes unread is reset, and takes the
 * answer with it: the client sees EPIPE and not why (RFC 9112, 9.6).
 */
import type { IncomingMessage, ServerResponse } from 'node:http';

/** Without a byte for so long it sends nothing more. */
const SILENCE_MS_MAX = 5000;
/** It has had its answer all the time. */
const LINGER_MS_MAX = 30_000;

/**
 * Sends the last of an answer whose head has been written. When the request has a body that nobody reads, the connection
 * ends after it: once the client has sent it, has gone, or SILENCE_MS_MAX or LINGER_MS_MAX have passed.
 */
export function endAfterBody(
  request: IncomingMessage,
  response: ServerResponse,
  last: string,
): void {
  if (request.complete || request.destroyed) {
    response.end(last);
    return;
  }
  response.write(last);
  const end = () => {
    clearTimeout(silence);
    clearTimeout(whole);
    response.end();
  };
  const silence = setTimeout(end, SILENCE_MS_MAX);
  const whole = setTimeout(end, LINGER_MS_MAX);
  request.on('data', () => silence.refresh());
  // `close` follows `end`, and comes without it from a client that goes away.
  request.once('close', end);
  request.resume();
}
