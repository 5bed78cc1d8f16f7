/** Tells a replica of the databases that this node does not replicate at present, when they are others than it was told. */
import { encodeTroubles } from './messages.ts';
import type { FrameTransport } from './transport.ts';

type Troubles = Parameters<typeof encodeTroubles>[0];

export class TroublesTeller {
  readonly #transport: FrameTransport;
  /** As TROUBLES has it. */
  #told = encodeTroubles([]);

  constructor(transport: FrameTransport) {
    this.#transport = transport;
  }

  /** `troubles`: all there are, of the databases that the replica wants. */
  tell(troubles: Troubles): void {
    const list = encodeTroubles(troubles);
    if (list.equals(this.#told)) return;
    this.#told = list;
    this.#transport.send('TROUBLES', list);
  }
}
