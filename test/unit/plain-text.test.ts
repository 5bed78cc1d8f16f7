/** Text of others for a terminal or a log: what is no text is shown as what it is, and nothing else is changed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { plainJson, plainLines, plainText, plainValue } from '../../src/plain-text.ts';

/** All that a terminal takes for a command, a line's end, or a change of direction. */
const COMMANDS =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]|\p{Cs}/u;

test('what is plain stays as it is', () => {
  for (const text of [
    '',
    'app.db',
    'Kundenübersicht/äöü.db',
    '顧客.db',
    'مرحبا.db',
    'a b\\x1b',
    '🙂.db',
  ]) {
    assert.equal(plainText(text), text);
  }
});

test('no command, line or direction is left of any text', () => {
  const units = fc.oneof(
    fc.nat({ max: 0xa0 }),
    fc.integer({ min: 0x2000, max: 0x2070 }),
    fc.nat({ max: 0xffff }),
  );
  const texts = fc.array(units).map((codes) => String.fromCharCode(...codes));
  fc.assert(
    fc.property(texts, (text) => {
      assert.doesNotMatch(plainText(text), COMMANDS);
      assert.doesNotMatch(plainJson({ [text]: text }, 0), COMMANDS);
      assert.deepEqual(JSON.parse(plainJson({ [text]: text })), { [text]: text });
    }),
  );
});

test('lines stay lines, and a value keeps its shape, whatever it is called', () => {
  assert.equal(plainLines('one\n\ttwo\n'), 'one\n\\x09two\n');
  const value = JSON.parse('{"__proto__": ["\\u001b"], "constructor": {"\\n": null, "n": 1}}');
  const plain = plainValue(value);
  assert.deepEqual(Object.keys(plain), ['__proto__', 'constructor']);
  assert.equal(
    JSON.stringify(plain),
    '{"__proto__":["\\\\x1b"],"constructor":{"\\\\x0a":null,"n":1}}',
  );
});
