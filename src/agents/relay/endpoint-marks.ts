// Which endpoints this relay has just failed to reach. A marked endpoint is tried after all others;
// it is never left out, because a mark may be wrong.
//
//             failed                                     lease over
//   standing ─────────► marked for 1 s, 2 s, 4 s … 30 s ───────────► on probation: one request tries it
//       ▲                    │                                            │
//       └──────── reached ───┴──────── reached, or nothing for a while ───┘
//
// What counts:
//   unreachable, broken  a failure at once
//   502, 503             a failure when UNAVAILABLE_STREAK of them came with no success between: one
//                        alone may be about one request, and passing it over costs little
//   other 5xx            a failure when ERROR_STREAK of them came with no success between: one alone says that
//                        the engine is there, but one that fails all it gets would soon get everything
//   no prefill in time   a failure when TIMEOUT_STREAK of them came with no success between: one alone may
//                        be about a long prompt
//   429, the client left nothing: the engine is full, and says so
//   any other answer     success
//
// Failures under a lease do not prolong it: a hundred requests that break at once are one failure. On probation
// each of them is a failure at once; what says nothing of the request that has the trial gives it to the next.
// Requests from before the mark may be under way for long: theirs leaves the trial alone.

import type { Clock } from "../../scheduler/support/clock.ts";
import type { Rng } from "../../scheduler/support/rng.ts";
import { PROTOCOL_LIMITS } from "../protocol/limits.ts";
import type { Mark } from "../protocol/messages.ts";

export const MARK_LIMITS = {
  /** Endpoints remembered; past it, nobody new is marked. */
  endpointsMax: PROTOCOL_LIMITS.marksMax,
  /** The first lease; each further one, with no success between, is twice as long. */
  leaseMsMin: 1_000,
  leaseMsMax: 30_000,
  /** How long after the last failure earlier ones are forgotten. */
  forgetMs: 60_000,
  /** Answers 502 or 503 in a row that count as a failure; Envoy's consecutive_gateway_failure. */
  unavailableStreak: 5,
  /** Answers 5xx in a row, 502 and 503 aside. */
  errorStreak: 10,
  /** How long a request that tries an endpoint on probation keeps others from it. */
  trialMsMax: 1_000,
  /** Prefills in a row that did not end in time and count as a failure: each costs its client that time. */
  timeoutStreak: 2,
} as const;
/** The part of a lease that is random, so that relays do not all try again at the same moment. */
const JITTER = 0.25;

export interface EndpointMarksOptions {
  readonly clock: Clock;
  readonly rng: Rng;
  /** Told when a mark is set or, with leaseMs 0, cleared; not when a lease ends by itself. */
  readonly onChange: (mark: Mark) => void;
}

/** The leave of one request to try an endpoint on probation. Another one is another's. */
export interface Trial {
  readonly endpoint: string;
  readonly endsMs: number;
}

interface Trouble {
  why: Mark["why"];
  /** Leases in a row. */
  leases: number;
  unavailable: number;
  errors: number;
  timeouts: number;
  /** The last one; undefined: none is under way. */
  trial: Trial | undefined;
  markedAtMs: number;
  leaseEndsMs: number;
  lastFailureMs: number;
}

export class EndpointMarks {
  readonly #options: EndpointMarksOptions;
  /** By address; only endpoints with something against them. */
  readonly #troubles = new Map<string, Trouble>();

  constructor(options: EndpointMarksOptions) {
    this.#options = options;
  }

  isMarked(endpoint: string): boolean {
    const trouble = this.#troubles.get(endpoint);
    return trouble !== undefined && trouble.leaseEndsMs > this.#options.clock();
  }

  /**
   * Whether a request may try it now, in the order it was given. A request that is told so tries it: on
   * probation it is the only one, until it has an answer or its time for that is over. It is then given a trial.
   */
  mayTry(endpoint: string): boolean | Trial {
    const trouble = this.#troubles.get(endpoint);
    if (trouble === undefined) return true;
    const nowMs = this.#options.clock();
    if (nowMs < trouble.leaseEndsMs) return false;
    if (trouble.leases === 0) return true;
    if (trouble.trial !== undefined && nowMs < trouble.trial.endsMs) return false;
    trouble.trial = { endpoint, endsMs: nowMs + MARK_LIMITS.trialMsMax };
    return trouble.trial;
  }

  /** A trial has shown nothing: 429, or nobody wanted the answer any more. The next request is given one. */
  undecided(trial: Trial): void {
    const trouble = this.#troubles.get(trial.endpoint);
    if (trouble?.trial === trial) trouble.trial = undefined;
  }

  /** No connection came about, or it broke before an answer. */
  failed(endpoint: string, why: "refused" | "timeout" | "reset"): void {
    const trouble = this.#troubleOf(endpoint);
    if (trouble !== undefined) this.#mark(endpoint, trouble, why);
  }

  /** It answered 502 or 503. */
  unavailable(endpoint: string): void {
    const trouble = this.#troubleOf(endpoint);
    if (trouble === undefined) return;
    trouble.unavailable += 1;
    const isEnough = trouble.unavailable >= MARK_LIMITS.unavailableStreak;
    if (isEnough || trouble.leases > 0) this.#mark(endpoint, trouble, "unavailable");
  }

  /** It answered another 5xx. */
  erred(endpoint: string): void {
    const trouble = this.#troubleOf(endpoint);
    if (trouble === undefined) return;
    trouble.errors += 1;
    const isEnough = trouble.errors >= MARK_LIMITS.errorStreak;
    if (isEnough || trouble.leases > 0) this.#mark(endpoint, trouble, "unavailable");
  }

  /** It did not end a prefill in the time that prefills have. */
  timedOut(endpoint: string): void {
    const trouble = this.#troubleOf(endpoint);
    if (trouble === undefined) return;
    trouble.timeouts += 1;
    const isEnough = trouble.timeouts >= MARK_LIMITS.timeoutStreak;
    if (isEnough || trouble.leases > 0) this.#mark(endpoint, trouble, "timeout");
  }

  /**
   * It answered a request that was sent at `sentAtMs`. An answer to a request from before the mark
   * may have been under way when the engine died: it clears nothing.
   */
  reached(endpoint: string, sentAtMs: number): void {
    const trouble = this.#troubles.get(endpoint);
    if (trouble === undefined || sentAtMs < trouble.markedAtMs) return;
    this.#troubles.delete(endpoint);
    if (trouble.leaseEndsMs > this.#options.clock()) {
      this.#options.onChange({ endpoint, leaseMs: 0, why: "answered" });
    }
  }

  /** Marks whose lease runs. */
  standing(): Mark[] {
    const nowMs = this.#options.clock();
    return [...this.#troubles]
      .filter(([, { leaseEndsMs }]) => leaseEndsMs > nowMs)
      .map(([endpoint, { leaseEndsMs, why }]) => ({
        endpoint,
        leaseMs: Math.ceil(leaseEndsMs - nowMs),
        why,
      }));
  }

  /** Forgets every endpoint that is not in `addresses`: another may come to have its address. */
  retain(addresses: ReadonlySet<string>): void {
    for (const endpoint of this.#troubles.keys()) {
      if (!addresses.has(endpoint)) this.#troubles.delete(endpoint);
    }
  }

  #mark(endpoint: string, trouble: Trouble, why: Mark["why"]): void {
    const { clock, rng, onChange } = this.#options;
    const nowMs = clock();
    if (trouble.leaseEndsMs > nowMs) return;
    const { leaseMsMin, leaseMsMax } = MARK_LIMITS;
    const ceilingMs = Math.min(leaseMsMax, leaseMsMin * 2 ** Math.min(trouble.leases, 30));
    const leaseMs = Math.ceil(ceilingMs * (1 - JITTER * rng()));
    trouble.why = why;
    trouble.unavailable = trouble.errors = trouble.timeouts = 0;
    trouble.trial = undefined;
    trouble.leases += 1;
    trouble.markedAtMs = nowMs;
    trouble.leaseEndsMs = nowMs + leaseMs;
    onChange({ endpoint, leaseMs, why });
  }

  /** What is held against an endpoint, for one more failure; undefined when there is no room. */
  #troubleOf(endpoint: string): Trouble | undefined {
    const nowMs = this.#options.clock();
    let trouble = this.#troubles.get(endpoint);
    const isOld =
      trouble !== undefined &&
      nowMs - Math.max(trouble.lastFailureMs, trouble.leaseEndsMs) > MARK_LIMITS.forgetMs;
    if (trouble === undefined || isOld) {
      if (trouble === undefined && this.#troubles.size >= MARK_LIMITS.endpointsMax) {
        return undefined;
      }
      trouble = {
        why: "refused",
        leases: 0,
        unavailable: 0,
        errors: 0,
        timeouts: 0,
        trial: undefined,
        markedAtMs: -Infinity,
        leaseEndsMs: -Infinity,
        lastFailureMs: nowMs,
      };
      this.#troubles.set(endpoint, trouble);
    }
    trouble.lastFailureMs = nowMs;
    return trouble;
  }
}
