/**
 * A connection that carries frames: a thin shell over a socket. Writes of one turn of the event loop go out
 * together. After the handshake both directions may be switched to one zstd stream each.
 */
import type { Duplex } from 'node:stream';
import zlib from 'node:zlib';
import { FRAME_TYPES, type Frame, type FrameName, FrameParser, frameHeader } from './frame.ts';

/** Above this many unsent bytes send() makes the caller wait. */
const PENDING_BYTES_MAX = 4 << 20;
/** Above this many the peer takes too little to be heard: see holdsReading. */
const UNTAKEN_BYTES_MAX = 16 << 20;
const ZSTD_LEVEL = 1;
/** Of what a stream may look back to, and has its receiver keep: 2^21 bytes; that of our level is 2^19. */
const ZSTD_WINDOW_LOG_MAX = 21;
const NOTHING = Buffer.alloc(0);

export interface TransportEvents {
  frame(frame: Frame): void;
  /** The connection is gone; the error that ended it, if one did. Called once. */
  closed(error: Error | undefined): void;
}

export class FrameTransport {
  readonly #socket: Duplex;
  readonly #parser = new FrameParser();
  #events: TransportEvents | undefined;
  #compressor: zlib.ZstdCompress | undefined;
  #decompressor: zlib.ZstdDecompress | undefined;
  #corked = false;
  /** The owner wants no more frames. */
  #paused = false;
  readonly #holdsReading: boolean;
  #held = false;
  #closed = false;
  #error: Error | undefined;
  #waiting: (() => void)[] = [];
  /** Payload bytes sent, before compression. */
  bytesSent = 0;
  bytesReceived = 0;

  /**
   * `holdsReading`: reads nothing from the peer while 16 MiB wait to be sent to it. Who asks and takes no answers has
   * them made no more. One end of a connection may, or both might wait for each other.
   */
  constructor(socket: Duplex, options: { readonly holdsReading?: boolean } = {}) {
    this.#holdsReading = options.holdsReading ?? false;
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#received(chunk));
    socket.on('drain', () => this.#wake());
    socket.on('error', (error) => {
      this.#error ??= error;
    });
    socket.on('close', () => this.#ended());
    socket.on('end', () => socket.end());
    socket.pause();
  }

  /** Begins to deliver. */
  start(events: TransportEvents): void {
    this.#events = events;
    this.#socket.resume();
  }

  /** The peer has proved who it is: from now on its frames may be large. */
  trust(): void {
    this.#parser.trust();
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Whether nothing is read, since the peer does not take what is sent to it. */
  get isHeld(): boolean {
    return this.#held;
  }

  /** Bytes that wait to be sent. */
  get pendingBytes(): number {
    return this.#socket.writableLength + (this.#compressor?.writableLength ?? 0);
  }

  /** Sends a frame; resolves when there is room for more. Rejects never: a lost frame ends the connection. */
  send(name: FrameName, ...payload: Uint8Array[]): Promise<void> | undefined {
    if (this.#closed) return undefined;
    let length = 0;
    for (const part of payload) length += part.length;
    this.#cork();
    const out = this.#compressor ?? this.#socket;
    out.write(frameHeader(FRAME_TYPES[name], length));
    for (const part of payload) if (part.length > 0) out.write(part);
    this.bytesSent += length + 5;
    if (this.pendingBytes < PENDING_BYTES_MAX) return undefined;
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Resolves when the buffers of all that was sent may be used for something else. */
  drained(): Promise<void> {
    const out = this.#compressor ?? this.#socket;
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => out.write(NOTHING, () => resolve()));
  }

  /** From the next byte on, both directions are zstd streams. To be called between two frames. */
  compress(): void {
    const params = { [zlib.constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL };
    this.#compressor = zlib.createZstdCompress({ params });
    this.#compressor.on('data', (chunk: Buffer) => this.#socket.write(chunk));
    this.#decompressor = zlib.createZstdDecompress({
      params: { [zlib.constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX },
    });
    this.#decompressor.on('data', (chunk: Buffer) => this.#parse(chunk));
    this.#decompressor.on('drain', () => this.#readOn());
    this.#decompressor.on('error', (error) => this.destroy(error));
    this.#compressor.on('error', (error) => this.destroy(error));
    // What came together with the last plain frame is compressed already.
    this.#decompressor.write(this.#parser.takeRest());
  }

  /** Delivers no more, but for the rest of a chunk that is being cut into frames. */
  pause(): void {
    this.#paused = true;
    this.#socket.pause();
    // A few kilobytes in it may be gigabytes of pages.
    this.#decompressor?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#readOn();
  }

  /** Sends what is pending, then closes. */
  end(): void {
    this.#socket.end();
  }

  /** Closes at once. */
  destroy(error?: Error): void {
    this.#error ??= error;
    this.#socket.destroy();
  }

  #received(chunk: Buffer): void {
    this.bytesReceived += chunk.length;
    if (!this.#decompressor) this.#parse(chunk);
    else if (!this.#decompressor.write(chunk)) this.#socket.pause();
  }

  /** Reads from the socket, unless the owner or the decompressor has enough. */
  #readOn(): void {
    if (this.#paused || this.#held) return;
    this.#decompressor?.resume();
    if (!this.#decompressor?.writableNeedDrain) this.#socket.resume();
  }

  #parse(chunk: Buffer): void {
    try {
      this.#parser.add(chunk);
      for (let frame = this.#parser.next(); frame; frame = this.#parser.next()) {
        if (this.#closed) return;
        this.#events?.frame(frame);
      }
      if (this.#holdsReading && this.pendingBytes > UNTAKEN_BYTES_MAX) this.#hold();
    } catch (error) {
      this.destroy(error as Error);
    }
  }

  #hold(): void {
    if (this.#held || this.#closed) return;
    this.#held = true;
    this.#socket.pause();
    this.#decompressor?.pause();
  }

  #cork(): void {
    if (this.#corked) return;
    this.#corked = true;
    this.#socket.cork();
    process.nextTick(() => {
      this.#corked = false;
      if (this.#compressor) this.#compressor.flush(() => this.#wake());
      this.#socket.uncork();
    });
  }

  /** What waits in send() goes on, once there is room; the socket's drain comes when there is none yet. */
  #wake(): void {
    if (!this.#closed && this.pendingBytes >= PENDING_BYTES_MAX) return;
    for (const resolve of this.#waiting.splice(0)) resolve();
    if (!this.#held) return;
    this.#held = false;
    this.#readOn();
  }

  #ended(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#wake();
    this.#compressor?.destroy();
    this.#decompressor?.destroy();
    this.#events?.closed(this.#error);
  }
}
