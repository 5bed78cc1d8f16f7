/**
 * An application's own wish to have a request answered elsewhere, as those written for LiteFS on Fly.io say it:
 * an answer with `fly-replay: instance=<hostname of the primary>`, or `elsewhere=true`. The body of the request is
 * kept as it goes by, so that it can be sent to the primary from its beginning.
 */

export type ReplayWish =
  | { readonly kind: 'primary' }
  | { readonly kind: 'impossible'; readonly reason: string };

/** What the header asks for. */
export function replayWish(
  header: string,
  node: { readonly isPrimary: boolean; readonly primaryHostname: string | undefined },
): ReplayWish {
  const fields = new Map(
    header.split(';').map((field): [string, string] => {
      const [name, ...value] = field.split('=');
      return [name.trim().toLowerCase(), value.join('=').trim()];
    }),
  );
  const instance = fields.get('instance');
  const named = instance !== undefined && instance === node.primaryHostname;
  if (!named && fields.get('elsewhere') !== 'true') {
    return impossible(
      `asks for a replay that only the primary (${node.primaryHostname ?? 'not known'}) could be meant by`,
    );
  }
  if (node.isPrimary) return impossible('asks for a replay on the primary, which this is');
  return { kind: 'primary' };
}

function impossible(what: string): ReplayWish {
  return { kind: 'impossible', reason: `the application ${what}` };
}

/** What all bodies together may take. */
export class ReplayMemory {
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** In use now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether there is so much left: it is taken then. */
  take(bytes: number): boolean {
    if (this.#bytes + bytes > this.#bytesMax) return false;
    this.#bytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
  }
}

/** Chunks of a body may be of a byte each, and each a view into much more memory: they are copied together. */
const BLOCK_BYTES = 16 * 1024;

/**
 * The body of a request as far as it has gone by, up to a limit for it and one for all. Past either nothing of it is kept: the
 * request goes on, it only cannot be replayed.
 */
export class KeptBody {
  readonly #bytesMax: number;
  readonly #memory: ReplayMemory;
  #blocks: Buffer[] = [];
  /** Of the last block. */
  #filled = 0;
  #bytes = 0;
  #isCrowded = false;

  constructor(bytesMax: number, memory: ReplayMemory) {
    this.#bytesMax = bytesMax;
    this.#memory = memory;
  }

  add(chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (!this.complete) {
      this.release();
      return;
    }
    for (let at = 0; at < chunk.length; ) {
      let block = this.#blocks.at(-1);
      if (!block || this.#filled === block.length) {
        const bytes = Math.max(BLOCK_BYTES, chunk.length - at);
        if (!this.#memory.take(bytes)) {
          this.#isCrowded = true;
          this.release();
          return;
        }
        block = Buffer.allocUnsafeSlow(bytes);
        this.#blocks.push(block);
        this.#filled = 0;
      }
      const copied = chunk.copy(block, this.#filled, at);
      this.#filled += copied;
      at += copied;
    }
  }

  /** Whether all that went by is here. */
  get complete(): boolean {
    return this.#bytes <= this.#bytesMax && !this.#isCrowded;
  }

  /** Whether it is not kept because of what others have. */
  get isCrowded(): boolean {
    return this.#isCrowded;
  }

  get chunks(): readonly Buffer[] {
    return this.#blocks.map((block, i) =>
      i === this.#blocks.length - 1 ? block.subarray(0, this.#filled) : block,
    );
  }

  get bytesMax(): number {
    return this.#bytesMax;
  }

  /** Lets its memory go; it may be called more than once. */
  release(): void {
    for (const block of this.#blocks) this.#memory.give(block.length);
    this.#blocks = [];
    this.#filled = 0;
  }
}
