// What deciders said, in a record.
//
//   verdict = stage isApart termCount (name value)[termCount]      names are texts, values single floats

import { SCORE_TERMS_MAX, type StageVerdict, VERDICTS_MAX } from "../plugin.ts";

export const STAGES = ["prefill", "encode"] as const satisfies StageVerdict["stage"][];
const HEAD_INTS = 3;
/** Of all that one decision can have. */
export const VERDICT_INTS_MAX = VERDICTS_MAX * (HEAD_INTS + 2 * SCORE_TERMS_MAX);

/** One verdict, unpacked. */
export interface RecordedVerdict {
  readonly stage: StageVerdict["stage"];
  readonly isApart: boolean;
  /** NaN for what there was nothing to say of. */
  readonly terms: readonly { readonly name: string; readonly value: number }[];
}

/** As a recorder saw it: deciders own what a verdict is made of, and reuse it. */
export type SeenVerdict = RecordedVerdict;

export function copyVerdicts(verdicts: readonly StageVerdict[] = []): SeenVerdict[] {
  return verdicts.slice(0, VERDICTS_MAX).map(({ stage, isApart, terms }) => ({
    stage,
    isApart,
    terms: (terms?.names ?? []).slice(0, SCORE_TERMS_MAX).map((name, i) => ({
      name,
      value: terms!.values[i]!,
    })),
  }));
}

/** Their length in a record. */
export function verdictInts(verdicts: readonly SeenVerdict[]): number {
  return verdicts.reduce((ints, { terms }) => ints + HEAD_INTS + 2 * terms.length, 0);
}

/** Where a segment's numbers are; both arrays are over the same bytes. */
export interface VerdictPlace {
  readonly ints: Int32Array;
  readonly singles: Float32Array;
}

/** Returns the place behind. */
export function writeVerdicts(
  { ints, singles }: VerdictPlace,
  at: number,
  verdicts: readonly SeenVerdict[],
  indexOf: (text: string) => number,
): number {
  let i = at;
  for (const { stage, isApart, terms } of verdicts) {
    ints[i++] = STAGES.indexOf(stage);
    ints[i++] = isApart ? 1 : 0;
    ints[i++] = terms.length;
    for (const { name, value } of terms) {
      ints[i++] = indexOf(name);
      singles[i++] = value;
    }
  }
  return i;
}

/** Reads `count` of them, beginning where `cursor` stands. */
export function readVerdicts(
  cursor: { next(): number; at: number },
  count: number,
  { singles }: Pick<VerdictPlace, "singles">,
  text: (index: number) => string,
): RecordedVerdict[] {
  return Array.from({ length: count }, () => {
    const stage = STAGES[cursor.next()]!;
    const isApart = cursor.next() === 1;
    const terms = Array.from({ length: cursor.next() }, () => {
      const name = text(cursor.next());
      return { name, value: singles[cursor.at++]! };
    });
    return { stage, isApart, terms };
  });
}
