// What a pool says of itself, for whoever chooses among pools.
//
// Its object pushes a summary to the directory on change and at least every SUMMARY_INTERVAL_MS; isolates
// read all of them with the configuration. Each signal has an age of its own: a pool whose object answers
// while its collectors are silent is alive, and its load unknown. A signal that is missing or too old puts
// the pool into a worse tier; it never counts as idle, empty or free.
//
// Clocks are not compared: ages are told as of the moment of sending, and everyone who passes a summary
// on adds the time that it spent there.

/** A summary is sent at least this often. */
export const SUMMARY_INTERVAL_MS = 1_000;
/** A change is told at once, but no more often than this. */
export const SUMMARY_MIN_INTERVAL_MS = 100;
/** Models and adapters in one summary; a pool with more tells the first. */
export const SUMMARY_NAMES_MAX = 256;

export interface PoolSummary {
  readonly pool: string;
  /** Random at each construction of the pool's object: what an earlier one said is void. */
  readonly incarnation: string;
  /** Rises with every summary of an incarnation: an older one that comes late is ignored. */
  readonly seq: number;
  readonly configVersion: number;
  /** Absent before the first collector has told who is there. */
  readonly membership?: MembershipSignal;
  /** Absent before the first sample. */
  readonly load?: LoadSignal;
  /** Absent while nobody tells; see MembershipSignal for the endpoints themselves. */
  readonly speed?: SpeedSignal;
  /** Which of the pool's objects says so, of how many, where there are several: then it speaks for itself alone. */
  readonly shard?: { readonly index: number; readonly count: number };
  /** Version of the digest of what its caches hold; absent while there is none. */
  readonly digestVersion?: string;
}

/** Who is there. */
export interface MembershipSignal {
  readonly ageMs: number;
  readonly endpoints: number;
  /** Of them, those a request can be sent to now: present, fresh, not ejected. */
  readonly usable: number;
  /** Relays and collectors connected to the object. */
  readonly agents: number;
  /** What its engines list, where they are asked; empty: what the configuration says. */
  readonly models: readonly string[];
  /** LoRA adapters that are active somewhere. */
  readonly adapters: readonly string[];
}

/** Loads, over usable endpoints. */
export interface LoadSignal {
  /** Of the youngest sample. */
  readonly ageMs: number;
  /** As the pool's saturation detector says: 1 is full. */
  readonly saturation: number;
  /** Until a request of the default priority that arrives now begins to be computed, as predicted. */
  readonly waitMs: number;
  /** Requests that wait in the object. */
  readonly queued: number;
  /** Requests with an open ticket, and their tokens. */
  readonly inFlightRequests: number;
  readonly inFlightTokens: number;
  /** Prompt tokens that were sent and are not computed yet, as far as is known. */
  readonly pendingPrefillTokens: number;
  /** Means over endpoints, as llm-d's two aggregate metrics: requests waiting in engines, 0..1 of KV memory. */
  readonly queueDepth: number;
  readonly kvUsage: number;
  /** Tokens of KV cache, over all endpoints; 0 unknown. */
  readonly kvCapacityTokens: number;
}

/** Learned. What has not been is left out: an object that begins anew has forgotten it. */
export interface SpeedSignal {
  /** Mean time of one endpoint for a prompt token that is not cached. */
  readonly prefillMsPerToken?: number;
  /** Mean time from a request's first token to its end. */
  readonly serviceMs?: number;
  /** Requests that the pool ended in a second, lately; 0 before the first. */
  readonly endedPerSecond: number;
}
