// What clients do: sessions of requests that wait for each other, in phases.

/** Tokens of a block in the engines' caches, as is vLLM's default. The router's are longer. */
export const BLOCK_TOKENS = 16;

/** Blocks that are full when there are `tokens`. */
export function fullBlocks(tokens: number): number {
  return Math.floor(tokens / BLOCK_TOKENS);
}

export interface WorkloadRequest {
  readonly promptTokens: number;
  /** Tokens the answer is going to have. Policies are not told, but for an oracle. */
  readonly outputTokens: number;
  /** What the client allows; null for no limit. */
  readonly outputTokensMax: number | null;
  /**
   * Names of the full blocks of prompt and answer together. A name stands for its block and
   * everything before it: equal names, equal prefixes.
   */
  readonly blocks: Int32Array;
}

export interface Turn {
  readonly request: WorkloadRequest;
  /** From the end of the turn before, as the client sees it: reading, or a tool at work. */
  readonly delayMs: number;
}

export interface Session {
  /** Of the first turn, since the beginning of the phase. */
  readonly startMs: number;
  /** Who sends it; each session is a tenant of its own where that is left out. */
  readonly tenant?: string;
  /** 0 where it is left out. */
  readonly priority?: number;
  readonly turns: readonly Turn[];
}

/** A phase begins when every request of the one before has ended. */
export interface Phase {
  readonly sessions: readonly Session[];
  /** Requests sent from then on count, in ms since the beginning; Infinity for a warm-up. */
  readonly measuredFromMs: number;
  /** Until when: requests sent later are load and not counted. */
  readonly measuredUntilMs: number;
}

/** When an answer was good: both must hold. */
export interface Slo {
  readonly ttftMs: number;
  readonly tpotMs: number;
}

export interface Workload {
  readonly name: string;
  /** In one sentence, with its source. */
  readonly about: string;
  readonly slo: Slo;
  /**
   * Requests a second at which a default pool under llm-d's weights keeps nine of ten within the SLO.
   * Found once by --find-saturation, and kept.
   */
  readonly saturationRate: number;
  /** What clients do at `rate` requests a second. Equal arguments, equal workloads. */
  create(rate: number, seed: number): Phase[];
}
