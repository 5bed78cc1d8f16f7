import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expandVariables } from '../../../src/config/expand.ts';
import { parse, problems } from './parse.ts';

const ENV = { HOST: 'box1', OTHER: 'box2', SAME: 'box1', EMPTY: '' };

for (const [source, expanded] of [
  ['$HOST', 'box1'],
  ['a $HOST.lan', 'a box1.lan'],
  [`\${HOST}`, 'box1'],
  [`\${ HOST }`, 'box1'],
  [`\${EMPTY}`, ''],
  [`\${HOST:-x}`, 'box1'],
  [`\${EMPTY:-a default: 5}`, 'a default: 5'],
  [`\${NONE:-}`, ''],
  [`\${HOST == "box1"}`, 'true'],
  [`\${HOST == 'box2'}`, 'false'],
  [`\${HOST=="box1"}`, 'true'],
  [`\${HOST != "box1"}`, 'false'],
  [`\${HOST != "box2"}`, 'true'],
  [`\${NONE == ""}`, 'true'],
  [`\${NONE == "box1"}`, 'false'],
  [`\${NONE != "box1"}`, 'true'],
  [`\${HOST == SAME}`, 'true'],
  [`\${HOST == OTHER}`, 'false'],
  [`\${HOST != OTHER}`, 'true'],
  [`$$HOST $\${HOST} 5$ $5`, `$HOST \${HOST} 5$ $5`],
  ['key: $HOST # not $NONE', 'key: box1 # not $NONE'],
  ['key: "# $HOST"', 'key: "# box1"'],
] as const) {
  test(`${source} becomes ${expanded || 'nothing'}`, () => {
    const { text, problems: wrong } = expandVariables(source, ENV);
    assert.deepEqual(wrong, []);
    assert.equal(text, expanded);
  });
}

for (const [source, what] of [
  ['$NONE', /NONE is not defined: define it, or write \$\{NONE:-default\}/],
  [`\${NONE}`, /NONE is not defined/],
  // Two that are not defined would be equal, and every node a primary.
  [`\${NONE == NEITHER}`, /NONE is not defined/],
  [`\${HOST == NONE}`, /NONE is not defined/],
  [`\${HOST`, /never closed/],
  [`\${HOST ? "a"}`, /cannot be understood/],
  [`\${}`, /cannot be understood/],
] as const) {
  test(`${source} is an error`, () => {
    const { problems: wrong } = expandVariables(`candidate: ${source}`, ENV);
    assert.equal(wrong.length, 1);
    assert.equal(wrong[0].offset, 11);
    assert.match(wrong[0].text, what);
  });
}

test('problems behind a variable are shown where they are in the file', () => {
  const text = 'lease: {hostname: $LONG, candidate: 5}\n';
  assert.deepEqual(problems(text, { LONG: 'a-name-that-is-longer-than-its-variable' }), [
    'f.yml:1:37: lease.candidate must be true or false',
  ]);
});

test('the value of a variable never shows in a message', () => {
  const [problem] = problems('http: {addr: "$SECRET"}', { SECRET: 'rumpelstiltskin' });
  assert.match(problem, /^f\.yml:1:14: http\.addr /);
  assert.doesNotMatch(problem, /rumpel/);
});

test('with -no-expand-env a dollar sign is one', () => {
  const { config } = parse('lease: {hostname: "$NONE"}', {}, false);
  assert.equal(config.lease.hostname, '$NONE');
});
