// What somebody may have meant by a word that does not exist.

/** Longer words are not compared. */
const WORD_CHARS_MAX = 64;

/** Shorter words begin too many others. */
const BEGINNING_CHARS_MIN = 4;

/** The closest of `candidates`, if it is close enough to be a slip, or else one that it begins. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > WORD_CHARS_MAX) return undefined;
  const wanted = word.toLowerCase();
  // A third of the letters: "queue" is not "quota", but "quue-scorer" is "queue-scorer".
  let bestDistance = Math.floor(word.length / 3) + 1;
  let best: string | undefined;
  let longer: string | undefined;
  for (const candidate of candidates) {
    if (candidate.length > WORD_CHARS_MAX) continue;
    if (candidate.toLowerCase().startsWith(wanted)) longer ??= candidate;
    if (Math.abs(candidate.length - word.length) >= bestDistance) continue;
    const distance = editDistance(wanted, candidate.toLowerCase());
    if (distance < bestDistance) {
      bestDistance = distance;
      best = candidate;
    }
  }
  return best ?? (word.length < BEGINNING_CHARS_MIN ? undefined : longer);
}

/** ` (did you mean 'x'?)`, or nothing. */
export function didYouMean(word: string, candidates: Iterable<string>): string {
  const meant = nearest(word, candidates);
  return meant === undefined ? "" : ` (did you mean '${meant}'?)`;
}

/** Insertions, deletions, replacements and swaps of neighbours that make one word of the other. */
function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1];
      let distance = Math.min(
        previous[j]! + 1,
        row[j - 1]! + 1,
        previous[j - 1]! + (isSame ? 0 : 1),
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        distance = Math.min(distance, beforePrevious[j - 2]! + 1);
      row.push(distance);
    }
    beforePrevious = previous;
    previous = row;
  }
  return previous[b.length]!;
}
