/** "Did you mean": the known word nearest to a misspelt one. */

/** The candidate that differs least, if it differs by little enough to be what was meant. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const tolerance = Math.max(1, Math.floor(word.length / 3));
  let best: string | undefined;
  let bestDistance = tolerance + 1;
  for (const candidate of candidates) {
    const distance = editDistance(plain(word), plain(candidate));
    const tie = distance === bestDistance && candidate.startsWith(word);
    if (distance < bestDistance || (tie && best !== undefined)) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Case and separators are the likeliest slips: retentionBytes, retention_bytes. */
function plain(word: string): string {
  return word.toLowerCase().replace(/[-_.]/g, '');
}

/** How many chars must be put in, taken out, replaced or swapped with a neighbour. */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let least = Math.min(row[j - 1] + 1, rows[i - 1][j] + 1, rows[i - 1][j - 1] + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, rows[i - 2][j - 2] + 1);
      }
      row.push(least);
    }
    rows.push(row);
  }
  return rows[a.length][b.length];
}
