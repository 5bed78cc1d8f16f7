/**
 * When the server's end of a connection is given up: a peer that does not prove who it is, does not say what it wants, is
 * silent, or asks and takes no answers.
 */
import { LiteFsError } from '../errors.ts';
import { type Clock, SILENCE_MS_MAX } from './parts.ts';
import { Silence } from './silence.ts';
import type { FrameTransport } from './transport.ts';

/** How far a peer has come. */
export type Standing = 'stranger' | 'guest' | 'follower' | 'refused';

/** From the connection to the proof. */
const HANDSHAKE_MS_MAX = 10_000;
/** From the connection to the SUBSCRIBE, which may be large. */
const SUBSCRIBE_MS_MAX = 60_000;
/** For as long it may be that nothing is read from it, since too much waits to be sent to it. */
const UNTAKEN_MS_MAX = 300_000;

export class Patience {
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #silence: Silence;
  #heldSinceMs: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedMs = clock.monotonicMs();
    this.#silence = new Silence(clock);
  }

  /** Why the connection must end now; undefined as long as it need not. To be asked each second or so. */
  end(
    standing: Standing,
    { isHeld, bytesReceived }: Pick<FrameTransport, 'isHeld' | 'bytesReceived'>,
  ): LiteFsError | undefined {
    const now = this.#clock.monotonicMs();
    const ageMs = now - this.#startedMs;
    if (standing === 'stranger' && ageMs > HANDSHAKE_MS_MAX) {
      return new LiteFsError('PROTOCOL', 'it has not proved who it is within 10 s');
    }
    if (standing === 'guest' && ageMs > SUBSCRIBE_MS_MAX) {
      return new LiteFsError('PROTOCOL', 'it has not said what it wants within 60 s');
    }
    if (isHeld) {
      // What it says meanwhile is not read.
      this.#silence.restart();
      this.#heldSinceMs ??= now;
      if (now - this.#heldSinceMs <= UNTAKEN_MS_MAX) return undefined;
      return new LiteFsError('PEER_UNREACHABLE', 'it has not taken what was sent to it for 300 s');
    }
    this.#heldSinceMs = undefined;
    // Who was refused does not stay for what it says then.
    const heard = standing === 'refused' ? 0 : bytesReceived;
    if (this.#silence.lasted(heard) <= SILENCE_MS_MAX) return undefined;
    return new LiteFsError('PEER_UNREACHABLE', 'nothing heard from it for 10 s');
  }
}
