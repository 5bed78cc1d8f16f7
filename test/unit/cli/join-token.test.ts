/** The token that makes a machine a replica: whatever is in it comes back, and a slip of the hand does not pass. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decodeToken, encodeToken, type JoinToken } from '../../../src/cli/join-token.ts';
import { LiteFsError } from '../../../src/errors.ts';

const TOKEN: JoinToken = {
  host: '10.0.0.1',
  replicationPort: 20204,
  httpPort: 20202,
  secret: 'correct horse',
};
const TEXT = 'lfl1.TuxO6ggxMC4wLjAuMWNvcnJlY3QgaG9yc2UmVp6I';

const port = fc.integer({ min: 1, max: 65_535 });
const word = (maxLength: number) =>
  fc.string({ unit: 'grapheme', minLength: 1, maxLength }).filter((text) => text.isWellFormed());
const tokens: fc.Arbitrary<JoinToken> = fc.record({
  host: word(30),
  replicationPort: port,
  httpPort: port,
  secret: word(80),
});

function isRefused(error: unknown, pattern: RegExp): boolean {
  assert(error instanceof LiteFsError, String(error));
  assert.equal(error.code, 'USAGE');
  assert.match(error.message, pattern);
  assert(error.hint);
  return true;
}

describe('a token', () => {
  it('is these bytes', () => {
    assert.equal(encodeToken(TOKEN), TEXT);
    assert.deepEqual(decodeToken(TEXT), TOKEN);
  });

  it('comes back as it was, with blanks around it too', () => {
    fc.assert(
      fc.property(tokens, (token) => {
        const text = encodeToken(token);
        assert.match(text, /^lfl1\.[A-Za-z0-9_-]+$/);
        assert.deepEqual(decodeToken(` ${text}\n`), { ...token });
      }),
    );
  });

  it('with one character changed, left out, doubled or swapped is refused', () => {
    const slips = fc.record({
      at: fc.nat(),
      how: fc.constantFrom('change', 'omit', 'double', 'swap'),
      other: fc.constantFrom(...'ABCdef019_-'),
    });
    fc.assert(
      fc.property(tokens, slips, (token, { at, how, other }) => {
        const text = encodeToken(token);
        const i = 5 + (at % (text.length - 6));
        const [a, b] = [text[i], text[i + 1]];
        const middle = { change: other + b, omit: b, double: a + a + b, swap: b + a }[how];
        const wrong = text.slice(0, i) + middle + text.slice(i + 2);
        fc.pre(wrong !== text);
        assert.throws(
          () => decodeToken(wrong),
          (error) => isRefused(error, /^the token is mistyped/),
        );
      }),
    );
  });

  it('is refused whatever else it is, without being shown', () => {
    for (const [text, pattern] of [
      ['', /begins with lfl1/],
      ['hunter2', /begins with lfl1/],
      ['lfl1.', /mistyped/],
      [`lfl1.${Buffer.alloc(9).toString('base64url')}`, /mistyped/],
      [TEXT.slice(0, -4), /mistyped/],
      [`${TEXT}=`, /characters/],
      [TEXT.replace('lfl1', 'lfl2'), /another version/],
    ] as const) {
      assert.throws(
        () => decodeToken(text),
        (error) => isRefused(error, pattern),
        text,
      );
    }
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          decodeToken(`lfl1.${text}`);
        } catch (error) {
          if (text.length > 20) assert(!(error as Error).message.includes(text));
          assert(error instanceof LiteFsError, String(error));
        }
      }),
    );
  });

  it('is not made of what has no place in it', () => {
    for (const wrong of [{ host: '' }, { host: 'x'.repeat(300) }, { secret: '' }]) {
      assert.throws(() => encodeToken({ ...TOKEN, ...wrong }), LiteFsError);
    }
  });
});
