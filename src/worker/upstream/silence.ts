// Tells a relay that takes long from one that is not there any more. A cluster that is cut off closes no
// connection: what was sent there would wait until somebody's patience ends.
//
//   sent ── LOOK_MS, doubled each time ──► was anything heard of the relay lately?
//             ▲                              │ yes                │ no
//             └──────────────────────────────┘                    ▼ one request of the isolate asks: HEAD,
//             ▲                            any answer, however    │ and a second one a moment later
//             └───────────────────────────────────────────────────┤
//                                                                 ▼ none within PATIENCE_MS
//                                                        silent: all that wait for it here go elsewhere
//
// So it takes about three seconds. A relay that is there is asked twice a second at most by an isolate, and
// only while somebody waits for it; one request asks ASKS_MAX times at most. Where there is nowhere else to go,
// nobody looks.

import { DEPLOYMENT_LIMITS } from "../../config/deployment.ts";

const LOOK_MS = 500;
const LOOK_MS_MAX = 8_000;
/** A HEAD on a new connection takes two round trips, three with TLS, and a packet may be lost. */
const PATIENCE_MS = 2_500;
const PATIENCE_RTTS = 4;
const SECOND_PROBE_MS = 1_000;
/** Of one request: it may make no more than so many subrequests. */
const ASKS_MAX = 16;
/** Relays remembered; every relay of a full deployment fits. */
const SILENCES_MAX = DEPLOYMENT_LIMITS.poolsMax * DEPLOYMENT_LIMITS.relaysPerPoolMax;

/** What was waited for will not come. */
export const SILENT: unique symbol = Symbol("silent");

export interface AwaitedRelay {
  readonly url: string;
  /** As far as is known. */
  readonly rttMs: number;
}

interface Heard {
  heardAtMs: number;
  /** Until then somebody asks it. A lease: who asks may end first, and its probes with it. */
  askedUntilMs: number;
  silentAtMs: number;
}

/** What one isolate has heard of relays. */
export class Silences {
  readonly #relays = new Map<string, Heard>();

  /**
   * Waits for `answer` for `deadlineMs` at most, as long as the relay shows that it is there. Rejects as
   * `answer` does.
   */
  async await<Answer>(
    answer: Promise<Answer>,
    { url, rttMs }: AwaitedRelay,
    deadlineMs: number,
  ): Promise<Answer | typeof SILENT> {
    const heard = this.#of(url);
    const sentAtMs = Date.now();
    const patienceMs = Math.max(PATIENCE_MS, PATIENCE_RTTS * rttMs);
    const came = answer.then((value) => {
      heard.heardAtMs = Date.now();
      return value;
    });
    let lookMs = LOOK_MS;
    for (let asks = 0; ;) {
      const first = await orElapsed(came, lookMs);
      if (first !== ELAPSED) return first;
      const nowMs = Date.now();
      const knownAtMs = Math.max(sentAtMs, heard.heardAtMs);
      if (nowMs - sentAtMs >= deadlineMs || heard.silentAtMs > knownAtMs) return SILENT;
      const isAsked = nowMs < heard.askedUntilMs;
      if (nowMs - heard.heardAtMs < LOOK_MS || isAsked || asks === ASKS_MAX) continue;
      asks++;
      const asked = await Promise.race([came, ask(url, heard, patienceMs)]);
      if (asked !== undefined) return asked;
      lookMs = Math.min(2 * lookMs, LOOK_MS_MAX);
    }
  }

  #of(url: string): Heard {
    const known = this.#relays.get(url);
    if (known !== undefined) return known;
    if (this.#relays.size >= SILENCES_MAX) this.#relays.clear();
    const heard = { heardAtMs: -Infinity, askedUntilMs: 0, silentAtMs: -Infinity };
    this.#relays.set(url, heard);
    return heard;
  }
}

/** `SILENT`, or undefined if the relay has answered. Never rejects. */
async function ask(
  url: string,
  heard: Heard,
  patienceMs: number,
): Promise<typeof SILENT | undefined> {
  heard.askedUntilMs = Date.now() + patienceMs + LOOK_MS;
  const signal = AbortSignal.timeout(patienceMs);
  const first = isThere(url, signal);
  const soon = await orElapsed(first, SECOND_PROBE_MS);
  const isHeard =
    soon === ELAPSED ? (await Promise.all([first, isThere(url, signal)])).includes(true) : soon;
  const nowMs = Date.now();
  heard.askedUntilMs = 0;
  if (isHeard) heard.heardAtMs = nowMs;
  else heard.silentAtMs = nowMs;
  return isHeard ? undefined : SILENT;
}

/** Any answer will do, whatever its status. */
async function isThere(url: string, signal: AbortSignal): Promise<boolean> {
  try {
    const answer = await fetch(url, { method: "HEAD", redirect: "manual", signal });
    await answer.body?.cancel();
    return true;
  } catch (error) {
    // Refused and reset are told by the request itself; other errors may be the platform's own.
    return !signal.aborted && !(error as Error).message.startsWith("Network connection lost");
  }
}

const ELAPSED: unique symbol = Symbol("elapsed");

async function orElapsed<Value>(work: Promise<Value>, ms: number): Promise<Value | typeof ELAPSED> {
  let timer: ReturnType<typeof setTimeout> | null = null;
  const elapsed = new Promise<typeof ELAPSED>((resolve) => {
    timer = setTimeout(() => resolve(ELAPSED), ms);
  });
  try {
    return await Promise.race([work, elapsed]);
  } finally {
    clearTimeout(timer);
  }
}
