/** Stands between a replica and the node that it follows: sees the frames, may hide features of the server, and may cut. */
import { FRAME_TYPES, type FrameName, FrameParser } from '../../src/replication/frame.ts';
import { type TcpRelay, tcpRelay } from './tcp-relay.ts';

export interface FrameRelay extends TcpRelay {
  /** How many frames of a type the replica has sent. */
  sent(name: FrameName): number;
}

/** In a HELLO, the first frame of each side: length and type, magic, version, three bytes of the features. */
export const LAST_OF_FEATURES = 4 + 1 + 4 + 2 + 3;

/** Leads to a port of this machine. `hidden`: bits of `features` that the server seems not to have. */
export async function frameRelay(targetPort: number, hidden = 0): Promise<FrameRelay> {
  const counts = new Map<number, number>();
  const relay = await tcpRelay(targetPort, (near, far) => {
    const parser = new FrameParser();
    parser.trust();
    near.on('data', (chunk: Buffer) => {
      parser.add(Buffer.from(chunk));
      for (let frame = parser.next(); frame; frame = parser.next()) {
        counts.set(frame.type, (counts.get(frame.type) ?? 0) + 1);
      }
      far.write(chunk);
    });
    let passed = 0;
    far.on('data', (chunk: Buffer) => {
      const at = LAST_OF_FEATURES - passed;
      if (at >= 0 && at < chunk.length) chunk[at] &= ~hidden;
      passed += chunk.length;
      near.write(chunk);
    });
  });
  return { ...relay, sent: (name) => counts.get(FRAME_TYPES[name]) ?? 0 };
}
