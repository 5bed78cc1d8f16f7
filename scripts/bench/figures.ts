/** What a measurement yields, and how it is put on the screen. */
import { median } from './statistics.ts';

/** A bar to clear: by the number itself, or by its ratio to the plain directory's. */
export interface Aim {
  readonly of: 'value' | 'ratio';
  readonly least?: number;
  readonly most?: number;
}

/** One line of the table: what was measured in one place, over all rounds. */
export interface Figure {
  readonly what: string;
  readonly place: string;
  readonly unit: string;
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
  readonly samples: readonly number[];
  /** Median over the rounds of this place's number by the plain directory's of the same round. */
  readonly ratio?: number;
  readonly aim?: string;
  readonly met?: boolean;
}

/** @param plain the plain directory's numbers, round by round. */
export function figure(
  what: string,
  place: string,
  unit: string,
  samples: readonly number[],
  { plain, aim }: { plain?: readonly number[]; aim?: Aim } = {},
): Figure {
  const ratio = plain && median(samples.map((sample, round) => sample / plain[round]));
  return {
    what,
    place,
    unit,
    median: median(samples),
    lowest: Math.min(...samples),
    highest: Math.max(...samples),
    samples,
    ratio,
    ...(aim && judge(aim, median(samples), ratio)),
  };
}

function judge(aim: Aim, value: number, ratio = Number.NaN): { aim: string; met: boolean } {
  const judged = aim.of === 'ratio' ? ratio : value;
  const { least = Number.NEGATIVE_INFINITY, most = Number.POSITIVE_INFINITY } = aim;
  const text = aim.least === undefined ? `<= ${number(most)}` : `>= ${number(least)}`;
  return {
    aim: aim.of === 'ratio' ? `${text} of plain` : text,
    met: judged >= least && judged <= most,
  };
}

/** As many decimals as the size of the number deserves. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const decimals = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString('en-US', {
    minimumFractionDigits: Number.isInteger(value) ? 0 : decimals,
    maximumFractionDigits: decimals,
  });
}

/** A Markdown table, which reads as well on a terminal. */
export function table(figures: readonly Figure[]): string {
  const head = ['what', 'where', 'median', 'lowest … highest', 'of plain', 'aim', ''];
  const rows = figures.map((line) => [
    line.what,
    line.place,
    `${number(line.median)} ${line.unit}`,
    `${number(line.lowest)} … ${number(line.highest)}`,
    line.ratio === undefined ? '' : line.ratio.toFixed(2),
    line.aim ?? '',
    line.met === undefined ? '' : line.met ? 'met' : 'missed',
  ]);
  const widths = head.map((_, column) =>
    Math.max(...[head, ...rows].map((row) => row[column].length)),
  );
  const line = (row: string[]) => `| ${row.map((cell, i) => cell.padEnd(widths[i])).join(' | ')} |`;
  return [
    line(head),
    `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`,
    ...rows.map(line),
  ].join('\n');
}
