/**
 * GET /events: what happens on this node, one JSON object a line, as LiteFS has it:
 *
 *     {"type":"init","data":{"isPrimary":true,"hostname":"box1"}}                      at the beginning
 *     {"type":"tx","db":"app.db","data":{"txID":…,"postApplyChecksum":…,…}}           for each transaction
 *     {"type":"primaryChange","data":{"isPrimary":false,"hostname":"box2"}}
 */
import type { ServerResponse } from 'node:http';
import { HttpFault } from './fault.ts';

/** Who is the primary; `hostname` is empty when that is not known. */
export interface PrimaryData {
  readonly isPrimary: boolean;
  readonly hostname: string;
}

export interface TransactionData {
  /** 16 hex digits, as the checksum. */
  readonly txID: string;
  readonly postApplyChecksum: string;
  readonly pageSize: number;
  /** Size of the database in pages. */
  readonly commit: number;
  /** ISO 8601, the primary's clock. */
  readonly timestamp: string;
}

export type NodeEvent =
  | { readonly type: 'init' | 'primaryChange'; readonly data: PrimaryData }
  | { readonly type: 'tx'; readonly db: string; readonly data: TransactionData };

const STREAMS_MAX = 100;
/** A reader that is this far behind is let go: it must not fill our memory. */
const BACKLOG_BYTES_MAX = 1 << 20;

/** The streams that are open now. */
export class EventStreams {
  readonly #streams = new Set<ServerResponse>();
  readonly #dropped: () => void;

  /** `dropped`: a slow reader was let go. */
  constructor(dropped: () => void = () => {}) {
    this.#dropped = dropped;
  }

  get count(): number {
    return this.#streams.size;
  }

  /** Makes the answer a stream that begins with `first`. Throws HttpFault 503 when there are too many. */
  open(response: ServerResponse, first: NodeEvent): void {
    if (this.#streams.size >= STREAMS_MAX) {
      throw new HttpFault(503, 'TOO_MANY', `${STREAMS_MAX} streams of events are open already`);
    }
    response.writeHead(200, {
      'content-type': 'application/x-ndjson; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      // nginx would gather what is to be seen at once.
      'x-accel-buffering': 'no',
    });
    this.#streams.add(response);
    response.on('close', () => this.#streams.delete(response));
    this.#write(response, encode(first));
  }

  publish(event: NodeEvent): void {
    if (this.#streams.size === 0) return;
    const line = encode(event);
    for (const response of this.#streams) this.#write(response, line);
  }

  #write(response: ServerResponse, line: string): void {
    response.write(line);
    if (response.writableLength <= BACKLOG_BYTES_MAX) return;
    this.#streams.delete(response);
    response.destroy();
    this.#dropped();
  }
}

function encode(event: NodeEvent): string {
  return `${JSON.stringify(event)}\n`;
}
