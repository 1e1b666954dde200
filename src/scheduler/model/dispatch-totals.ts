// What has been sent to all endpoints of a table, in all: rates are told from two readings.

export class DispatchTotals {
  requests = 0;
  promptTokens = 0;
  uncachedTokens = 0;
  kvTokens = 0;
  /** The sum of squares of requests' uncached tokens. */
  uncachedSquares = 0;

  add(
    kvTokens: number,
    prompt: { readonly promptTokens: number; readonly uncachedTokens: number },
  ): void {
    this.requests += 1;
    this.promptTokens += prompt.promptTokens;
    this.kvTokens += kvTokens;
    this.addUncached(prompt.uncachedTokens);
  }

  /** Of a request that was counted before. */
  addUncached(tokens: number): void {
    this.uncachedTokens += tokens;
    this.uncachedSquares += tokens * tokens;
  }
}
