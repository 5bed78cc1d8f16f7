/** What `verify` prints, and how it ends: three answers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { verifyStatus, verifyText } from '../../../src/cli/verify.ts';
import type { VerifyReport } from '../../../src/http/info.ts';

const PAGES = { position: '07/aa', pages: 2, ok: true, badPages: [] };
const BAD = { ...PAGES, ok: false, badPages: [2], reason: '1 of 2 pages' };
const THERE = { ...PAGES, checksumHere: 'aa' };
const ALONE: VerifyReport = {
  name: 'app.db',
  ...PAGES,
  primary: null,
  sameAsPrimary: null,
  notCompared: null,
};
const SAME: VerifyReport = { ...ALONE, primary: THERE, sameAsPrimary: true };
const UNTOLD: VerifyReport = { ...ALONE, notCompared: 'it is gone' };

const CASES: [string, VerifyReport, number, string][] = [
  ['a primary', ALONE, 0, 'app.db: ok at 07/aa, 2 pages'],
  [
    'the same',
    SAME,
    0,
    "app.db: ok at 07/aa, 2 pages, the same as on the primary (both sides' pages were read)",
  ],
  ['not compared', UNTOLD, 75, 'app.db: ok at 07/aa, 2 pages, not compared: it is gone'],
  ['wrong here', { ...UNTOLD, ...BAD }, 65, 'app.db: BAD at 07/aa: 1 of 2 pages; pages 2'],
  [
    'wrong there',
    { ...SAME, primary: { ...THERE, ...BAD }, sameAsPrimary: false },
    65,
    'app.db: BAD on the primary at 07/aa: 1 of 2 pages; pages 2',
  ],
  [
    'wrong there, and not compared',
    { ...UNTOLD, primary: { ...BAD, checksumHere: null } },
    65,
    'app.db: BAD on the primary at 07/aa: 1 of 2 pages; pages 2',
  ],
  [
    'another history',
    { ...SAME, primary: { ...THERE, checksumHere: 'bb' }, sameAsPrimary: false },
    65,
    'app.db: DIFFERS: after transaction 07 the primary had aa, this node bb',
  ],
];

for (const [what, report, status, text] of CASES) {
  test(what, () => {
    assert.equal(verifyText(report), text);
    assert.equal(verifyStatus([report]), status);
  });
}

test('of several databases the worst counts', () => {
  assert.equal(verifyStatus([]), 0);
  assert.equal(verifyStatus([SAME, UNTOLD, ALONE]), 75);
  assert.equal(verifyStatus([UNTOLD, { ...ALONE, ...BAD }, SAME]), 65);
});
