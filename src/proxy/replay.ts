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

/** The body of a request as far as it has gone by, up to a limit. */
export class KeptBody {
  readonly #bytesMax: number;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  add(chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.complete) this.#chunks.push(chunk);
    else this.#chunks = [];
  }

  /** Whether all that went by is here. */
  get complete(): boolean {
    return this.#bytes <= this.#bytesMax;
  }

  get chunks(): readonly Buffer[] {
    return this.#chunks;
  }

  get bytesMax(): number {
    return this.#bytesMax;
  }
}
