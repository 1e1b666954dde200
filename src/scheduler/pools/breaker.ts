// The breaker of one pool, relay or endpoint, as one isolate sees it.

/** `neutral` says nothing of health: 429, a client that left. It gives a probe's place back. */
export type BreakerOutcome = "success" | "failure" | "neutral";
