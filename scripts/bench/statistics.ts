/** The few statistics that the benchmarks need. */

/** The value below which that part (0 … 1) of the numbers lies; NaN of none. */
export function quantile(numbers: readonly number[], part: number): number {
  if (numbers.length === 0) return Number.NaN;
  const sorted = [...numbers].sort((a, b) => a - b);
  const rank = part * (sorted.length - 1);
  const below = sorted[Math.floor(rank)];
  return below + (sorted[Math.ceil(rank)] - below) * (rank % 1);
}

export function median(numbers: readonly number[]): number {
  return quantile(numbers, 0.5);
}
