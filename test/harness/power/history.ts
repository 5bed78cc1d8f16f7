/** Which positions the databases of some nodes have had, by their streams of events: for a TXID, each checksum it had. */
import http from 'node:http';
import readline from 'node:readline';
import type { NodeEvent } from '../../../src/http/events.ts';
import type { TestNode } from '../cluster.ts';

export class History {
  /** `<database> <TXID>` to checksums. */
  readonly #checksums = new Map<string, Set<string>>();

  add(database: string, txid: string, checksum: string): void {
    const key = `${database} ${txid}`;
    this.#checksums.set(key, (this.#checksums.get(key) ?? new Set()).add(checksum));
  }

  /** A position as text. */
  addPosition(database: string, position: string): void {
    const [txid, checksum] = position.split('/');
    if (checksum) this.add(database, txid, checksum);
  }

  /** Whether the TXID of a position was seen, and with this checksum: undefined when it was not seen. */
  has(database: string, position: string): boolean | undefined {
    const [txid, checksum] = position.split('/');
    return this.#checksums.get(`${database} ${txid}`)?.has(checksum);
  }

  get size(): number {
    return this.#checksums.size;
  }

  /** TXIDs that were seen with more than one checksum. */
  twice(): string[] {
    return [...this.#checksums].filter(([, set]) => set.size > 1).map(([key]) => key);
  }

  /** Follows a node that runs, until it ends. */
  follow(node: TestNode): void {
    const request = http.get({ host: '127.0.0.1', port: node.httpPort, path: '/events' });
    request.on('error', () => {});
    request.on('response', (response) => {
      const lines = readline.createInterface({ input: response });
      // It has ended.
      lines.on('error', () => {});
      lines.on('line', (line) => {
        let event: NodeEvent;
        try {
          event = JSON.parse(line) as NodeEvent;
        } catch {
          // The node was killed in the middle of a line.
          return;
        }
        if (event.type === 'tx') this.add(event.db, event.data.txID, event.data.postApplyChecksum);
      });
    });
  }
}
