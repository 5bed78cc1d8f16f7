/** The stream of frames: however it is cut, the same frames come out of it, and what is none ends it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LiteFsError } from '../../../src/errors.ts';
import {
  FRAME_BYTES_MAX,
  FRAME_TYPES,
  FrameParser,
  frameHeader,
  frameName,
  HANDSHAKE_FRAME_BYTES_MAX,
} from '../../../src/replication/frame.ts';

const types = Object.values(FRAME_TYPES).filter((type) => type < 32);
const frames = fc.array(
  fc.record(
    {
      type: fc.constantFrom(...types),
      payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    },
    { noNullPrototype: true },
  ),
);

interface Plain {
  readonly type: number;
  readonly payload: Buffer;
}

function bytesOf(list: readonly Plain[]): Buffer {
  return Buffer.concat(
    list.flatMap(({ type, payload }) => [frameHeader(type, payload.length), payload]),
  );
}

function framesOf(parser: FrameParser): Plain[] {
  const found: Plain[] = [];
  for (let frame = parser.next(); frame; frame = parser.next()) {
    const whole = Buffer.concat(frame.parts);
    found.push({ type: frame.type, payload: frame.payload });
    assert(whole.equals(frame.payload));
  }
  return found;
}

test('frames come out as they went in, wherever the stream is cut', () => {
  fc.assert(
    fc.property(frames, fc.infiniteStream(fc.integer({ min: 1, max: 50 })), (list, cuts) => {
      const parser = new FrameParser();
      const bytes = bytesOf(list);
      const found: Plain[] = [];
      for (let at = 0; at < bytes.length; ) {
        const length = cuts.next().value as number;
        parser.add(bytes.subarray(at, at + length));
        at += length;
        found.push(...framesOf(parser));
      }
      assert.deepEqual(found, list);
      assert.equal(parser.takeRest().length, 0);
    }),
  );
});

test('a frame is as docs/protocol.md has it', () => {
  const ping = Buffer.from('0000000113', 'hex');
  assert.deepEqual(frameHeader(FRAME_TYPES.PING, 0), ping);
  const parser = new FrameParser();
  parser.add(ping);
  assert.deepEqual(framesOf(parser), [{ type: FRAME_TYPES.PING, payload: Buffer.alloc(0) }]);
});

function refused(header: string, parser = new FrameParser()): string {
  parser.add(Buffer.from(header, 'hex'));
  try {
    parser.next();
  } catch (error) {
    assert(error instanceof LiteFsError && error.code === 'PROTOCOL');
    return error.message;
  }
  return '';
}

test('from strangers large frames are refused by their length alone, from others later', () => {
  const length = (bytes: number) => bytes.toString(16).padStart(8, '0');
  assert.equal(refused(`${length(HANDSHAKE_FRAME_BYTES_MAX)}01`), '');
  assert.match(refused(`${length(HANDSHAKE_FRAME_BYTES_MAX + 1)}01`), /a frame of 4097 bytes/);
  const known = new FrameParser();
  known.trust();
  assert.equal(refused(`${length(FRAME_BYTES_MAX)}07`, known), '');
  const other = new FrameParser();
  other.trust();
  assert.match(refused(`${length(FRAME_BYTES_MAX + 1)}07`, other), /a frame of 2097153 bytes/);
  assert.match(refused('0000000001'), /a frame of 0 bytes/);
  assert.match(refused(Buffer.from('GET / HTTP/1.1').toString('hex')), /not a litefs-lite node/);
});

test('an answer in HTTP is told from a frame: the port is that of http.addr', () => {
  const answer = Buffer.from('HTTP/1.1 400 Bad Request\r\n').toString('hex');
  assert.match(refused(answer), /answers in HTTP.*not of replication\.addr/);
});

test('unknown and reserved types are refused by name', () => {
  assert.match(refused('00000001c8'), /unknown type 200/);
  assert.match(refused('0000000100'), /unknown type 0/);
  assert.match(refused('0000000122'), /RESERVED_HANDOFF.*does not use/);
  assert.equal(frameName(99), 'type 99');
});

test('arbitrary bytes give frames or a refusal, never anything else', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 64 })), (chunks) => {
      const parser = new FrameParser();
      try {
        for (const chunk of chunks) {
          parser.add(Buffer.from(chunk));
          framesOf(parser);
        }
      } catch (error) {
        assert(error instanceof LiteFsError && error.code === 'PROTOCOL', String(error));
      }
    }),
  );
});
