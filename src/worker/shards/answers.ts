// What the objects of one pool have answered to the same question.

/** What the objects of a pool have answered. At least one has. */
export interface Answers<Answer> {
  /** Of objects that the pool has. */
  readonly count: number;
  /** In the order of shards. */
  readonly answers: readonly { readonly shard: number; readonly value: Answer }[];
  /** Shards that did not answer. */
  readonly missing: readonly number[];
}

/** Which shards a merged answer is of; only of a pool of several. */
export interface AnsweredShards {
  readonly count: number;
  readonly missing: readonly number[];
}

/** The part of a merged answer that says whom it is of. */
export function answeredShards({ count, missing }: Answers<unknown>): {
  readonly shards?: AnsweredShards;
} {
  return count === 1 ? {} : { shards: { count, missing } };
}
