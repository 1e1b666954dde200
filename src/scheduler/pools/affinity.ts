// What clients send that says which requests belong together. It is a hint: it draws requests to one
// pool, and never keeps them there when that pool is worse by more than it is worth.

/** One hint of a request. */
export interface SessionAffinity {
  /** Which of the hints it is. */
  readonly source: "prompt_cache_key" | "cache_control" | "header" | "prefix";
  /** Hash of tenant and value: two requests with the same one belong together. Never the value itself. */
  readonly low: number;
  readonly high: number;
}
