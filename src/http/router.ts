/** From a request to its route by path and method, and from what the route says to the answer. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { LiteFsError } from '../errors.ts';
import { type Admission, authorize, statusRefusal } from './authorization.ts';
import { type Caller, callerText } from './caller.ts';
import { asFault, faultReport, HttpFault } from './fault.ts';
import { expectOwnHost } from './host.ts';
import { endAfterBody } from './unread-body.ts';

/** One request, and what is known of it. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly query: URLSearchParams;
  /** Aborted when the client goes away, or the node stops. */
  readonly signal: AbortSignal;
  /** Whether the client may read the status, also where a route is public. */
  readonly maySeeStatus: boolean;
}

interface RouteParts {
  readonly path: string;
  /** Whether it reads the body of the request. What others send is not read. */
  readonly takesBody?: boolean;
  /** Whether its answer goes on after handle(), for as long as the client stays. */
  readonly isStream?: boolean;
  /** What to answer with, as JSON; undefined when it has answered by itself. */
  handle(exchange: Exchange): unknown;
}

/**
 * `public`: for whoever reaches the port. `status`: for who shows the token for the status, where the node has one, else as well
 * for whoever reaches the port. Both change nothing, hand out nothing of what databases hold, and cost little.
 */
interface OpenRoute extends RouteParts {
  readonly access: 'public' | 'status';
  readonly method: 'GET';
}

/** For root, and who shows the secret of the node (authorization.ts). */
interface GuardedRoute extends RouteParts {
  readonly access: 'guarded';
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Asked for again and again: not each time is worth a line of the log. */
  readonly isRepeated?: boolean;
}

/** Each says where it is defined for whom it is. */
export type Route = OpenRoute | GuardedRoute;

export interface RouterOptions {
  readonly routes: readonly Route[];
  /** Who may ask for what not everybody may. */
  readonly admission: Admission;
  /** Whether a Host is this node's, beside its addresses and localhost. */
  readonly isOwnName: (name: string) => boolean;
  /** Is told of each answer; `route` is its path, or `other`. */
  readonly answered?: (route: string, status: number) => void;
  /** Is told what not everybody may ask for, and who has. `isRepeated`: as the route has it. */
  readonly admitted?: (what: string, who: string, isRepeated: boolean) => void;
  /** Is told of what no route should throw, and of what the client cannot be told any more. */
  readonly failed?: (what: string, error: unknown) => void;
}

/** How long a client may take for an answer that is complete. */
const TAKEN_MS_MAX = 60_000;
const LOGGED_MAX = 300;

export class Router {
  readonly #options: RouterOptions;

  constructor(options: RouterOptions) {
    this.#options = options;
  }

  /** Answers. Never rejects. */
  async handle(
    request: IncomingMessage,
    response: ServerResponse,
    caller: Caller,
    signal: AbortSignal,
  ): Promise<void> {
    const url = parseTarget(request.url);
    const onPath = this.#options.routes.filter(({ path }) => path === url?.pathname);
    response.on('close', () => {
      this.#options.answered?.(onPath[0]?.path ?? 'other', response.statusCode);
    });
    // A body that nobody reads would be taken for the next request, or be waited for.
    const refuseBody = () => {
      if (!request.complete) response.setHeader('connection', 'close');
    };
    let isStream = false;
    try {
      const path = url?.pathname ?? request.url ?? '';
      // No web page reaches the socket.
      if (caller.kind === 'tcp') expectOwnHost(request, path, this.#options.isOwnName);
      const route = pick(onPath, request.method, path);
      if (route.access === 'guarded' && url) this.#admit(request, url, route, caller);
      const refusal = statusRefusal(request, caller, this.#options.admission);
      if (route.access === 'status' && refusal) throw refusal;
      if (!route.takesBody) refuseBody();
      const query = url?.searchParams ?? new URLSearchParams();
      isStream = route.isStream ?? false;
      const maySeeStatus = refusal === undefined;
      const body = await route.handle({ request, response, query, signal, maySeeStatus });
      if (body !== undefined) sendJson(request, response, 200, body);
    } catch (error) {
      const isExpected = error instanceof HttpFault || error instanceof LiteFsError;
      if ((!isExpected || response.headersSent) && !signal.aborted) {
        this.#options.failed?.(`${request.method} ${url?.pathname ?? request.url}`, error);
      }
      // In the middle of an answer only the end of the connection tells the client.
      if (response.headersSent) response.destroy();
      else {
        const fault = asFault(error);
        refuseBody();
        sendJson(request, response, fault.status, faultReport(fault), fault.headers);
      }
    }
    if (!isStream) expectTaken(response);
  }

  /** Throws HttpFault. */
  #admit(request: IncomingMessage, url: URL, route: GuardedRoute, caller: Caller): void {
    authorize(request, caller, this.#options.admission);
    // Encoded as in a URL: it can hold no line of its own.
    const what = `${request.method} ${url.pathname}${url.search}`.slice(0, LOGGED_MAX);
    this.#options.admitted?.(what, callerText(caller), route.isRepeated ?? false);
  }
}

/** Of an answer that is complete: who does not take it holds memory and a connection. */
function expectTaken(response: ServerResponse): void {
  if (response.writableFinished || response.destroyed) return;
  const timer = setTimeout(() => response.destroy(), TAKEN_MS_MAX);
  response.on('close', () => clearTimeout(timer));
}

/** undefined when the target of the request is none of ours. */
function parseTarget(target = ''): URL | undefined {
  return target.startsWith('/') ? (URL.parse(`http://node${target}`) ?? undefined) : undefined;
}

function pick(onPath: readonly Route[], method: string | undefined, path: string): Route {
  if (onPath.length === 0) {
    throw new HttpFault(404, 'NOT_FOUND', `there is nothing at ${path}`, {
      hint: 'docs/http-api.md lists what there is.',
    });
  }
  const asked = method === 'HEAD' ? 'GET' : method;
  const route = onPath.find((candidate) => candidate.method === asked);
  if (route) return route;
  throw new HttpFault(405, 'METHOD_NOT_ALLOWED', `${method} ${path} is not offered`, {
    headers: { allow: onPath.map((candidate) => candidate.method).join(', ') },
  });
}

function sendJson(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  const text = `${JSON.stringify(body, null, 2)}\n`;
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...headers,
  });
  endAfterBody(request, response, text);
}
