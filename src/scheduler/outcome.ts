/**
 * Why a request was not dispatched. Closed set: the value of the drop-reason header and of metric
 * labels. The strings are llm-d's (pkg/epp/flowcontrol/types/outcomes.go and requestcontrol).
 */
export const DROP_REASONS = [
  "rejected-saturated",
  "rejected-no-endpoints",
  "rejected-ttl-expired",
  "rejected-context-cancelled",
  "rejected-shutting-down",
  // It waited, and somebody of a higher priority needed its room; llm-d never emits it.
  "evicted-queue-pressure",
  // It had been let through, and was ended for somebody of a higher priority.
  "evicted",
] as const;
export type DropReason = (typeof DROP_REASONS)[number];

/** A refusal that is part of normal operation. `detail` is for people and never holds a prompt. */
export interface Dropped {
  readonly ok: false;
  readonly reason: DropReason;
  readonly detail: string;
}
