/** The same thing in several places in turn, A B A B, so that what the machine does meanwhile hits all alike. */
import { type Aim, type Figure, figure } from './figures.ts';

export interface Case {
  readonly place: string;
  /** Measures once: numbers by the name of their metric. */
  run(): Promise<Record<string, number>>;
}

export interface Metric {
  readonly key: string;
  readonly what: string;
  readonly unit: string;
  /** By place. */
  readonly aims?: Readonly<Record<string, Aim>>;
}

/** Ratios are to the first case. */
export async function inTurn(
  rounds: number,
  cases: readonly Case[],
  metrics: readonly Metric[],
): Promise<Figure[]> {
  const results = new Map(cases.map((each) => [each, [] as Record<string, number>[]]));
  for (let round = 0; round < rounds; round++) {
    for (const [each, runs] of results) runs.push(await each.run());
  }
  return metrics.flatMap(({ key, what, unit, aims }) => {
    const samplesOf = (each: Case) => (results.get(each) ?? []).map((run) => run[key]);
    return cases.map((each, index) =>
      figure(what, each.place, unit, samplesOf(each), {
        plain: index > 0 ? samplesOf(cases[0]) : undefined,
        aim: aims?.[each.place],
      }),
    );
  });
}
