/** What a check of `litefs-lite doctor` found, and how it is shown. */

export interface Finding {
  /** What was looked at, in one word. */
  readonly check: string;
  /** warn: it runs, but not as well as it could, or not yet. fail: it does not, or data is in danger. */
  readonly verdict: 'ok' | 'warn' | 'fail';
  /** What was found. */
  readonly text: string;
  /** What to do. */
  readonly hint?: string;
}

export function ok(check: string, text: string): Finding {
  return { check, verdict: 'ok', text };
}

export function warn(check: string, text: string, hint: string): Finding {
  return { check, verdict: 'warn', text, hint };
}

export function fail(check: string, text: string, hint: string): Finding {
  return { check, verdict: 'fail', text, hint };
}

/** One line each, and below it what to do. */
export function formatFindings(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ check }) => check.length));
  const lines = findings.flatMap(({ check, verdict, text, hint }) => [
    `${verdict.padEnd(4)}  ${check.padEnd(width)}  ${text.replaceAll('\n', `\n${' '.repeat(width + 8)}`)}`,
    ...(hint === undefined ? [] : [`${' '.repeat(width + 8)}${hint}`]),
  ]);
  const count = (verdict: string) => findings.filter((each) => each.verdict === verdict).length;
  const [fails, warns] = [count('fail'), count('warn')];
  const sum = fails + warns === 0 ? 'all is well' : `${fails} failed, ${warns} to look at`;
  return `${lines.join('\n')}\n\n${sum}\n`;
}
