// What has been sent to all endpoints of a table, in all: rates are told from two readings.

export class DispatchTotals {
  requests = 0;
  promptTokens = 0;
  uncachedTokens = 0;
  kvTokens = 0;

  add(
    kvTokens: number,
    prompt: { readonly promptTokens: number; readonly uncachedTokens: number },
  ): void {
    this.requests += 1;
    this.promptTokens += prompt.promptTokens;
    this.uncachedTokens += prompt.uncachedTokens;
    this.kvTokens += kvTokens;
  }
}
