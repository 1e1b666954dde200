// Tells a relay that takes long from one that is not there any more. A cluster that is cut off closes no
// connection: what was sent there would wait until somebody's patience ends.
//
//   sent ── SILENCE_LOOK_MS ──► was anything heard of the relay since the last look?
//             ▲                   │ yes                    │ no
//             └───────────────────┘                        ▼ one request of the isolate asks it: HEAD
//             ▲                        any answer          │
//             └────────────────────────────────────────────┤ none to PROBES_MAX in a row
//                                                          ▼
//                                                        silent: all that wait for it here go elsewhere
//
// So it takes about two seconds, and a relay that is there is asked no more than twice a second by an
// isolate, and only while somebody waits for it. Where there is nowhere else to go, nobody looks.

import { DEPLOYMENT_LIMITS } from "../../config/deployment.ts";

const SILENCE_LOOK_MS = 500;
const SILENCE_PROBE_MS = 750;
/** A single packet that is lost is sent again within this time. */
const SILENCE_PROBES_MAX = 2;

/** Relays remembered; every relay of a full deployment fits. */
const SILENCES_MAX = DEPLOYMENT_LIMITS.poolsMax * DEPLOYMENT_LIMITS.relaysPerPoolMax;

/** What was waited for will not come. */
export const SILENT: unique symbol = Symbol("silent");

interface Relay {
  heardAtMs: number;
  /** Until then somebody asks it. A lease: who asks may end first, and its probe with it. */
  probedUntilMs: number;
  silentAtMs: number;
}

/** What one isolate has heard of relays. */
export class Silences {
  readonly #relays = new Map<string, Relay>();

  /**
   * Waits for `answer` for `deadlineMs` at most, as long as the relay at `url` shows that it is there.
   * Rejects as `answer` does.
   */
  async await<Answer>(
    answer: Promise<Answer>,
    url: string,
    deadlineMs: number,
  ): Promise<Answer | typeof SILENT> {
    const relay = this.#of(url);
    const sentAtMs = Date.now();
    const came = answer.then((value) => {
      relay.heardAtMs = Date.now();
      return value;
    });
    for (;;) {
      const first = await orElapsed(came, SILENCE_LOOK_MS);
      if (first !== ELAPSED) return first;
      const nowMs = Date.now();
      if (nowMs - sentAtMs >= deadlineMs || relay.silentAtMs > sentAtMs) return SILENT;
      const isHeard = nowMs - relay.heardAtMs < SILENCE_LOOK_MS;
      if (!isHeard && nowMs >= relay.probedUntilMs) {
        const asked = await Promise.race([came, ask(url, relay)]);
        if (asked !== undefined) return asked;
      }
    }
  }

  #of(url: string): Relay {
    const known = this.#relays.get(url);
    if (known !== undefined) return known;
    if (this.#relays.size >= SILENCES_MAX) this.#relays.clear();
    const relay = { heardAtMs: -Infinity, probedUntilMs: 0, silentAtMs: -Infinity };
    this.#relays.set(url, relay);
    return relay;
  }
}

/** `SILENT`, or undefined if the relay has answered. Never rejects. */
async function ask(url: string, relay: Relay): Promise<typeof SILENT | undefined> {
  relay.probedUntilMs = Date.now() + SILENCE_PROBES_MAX * SILENCE_PROBE_MS + SILENCE_LOOK_MS;
  let isHeard = false;
  for (let probe = 0; probe < SILENCE_PROBES_MAX && !isHeard; probe++) isHeard = await isThere(url);
  const nowMs = Date.now();
  relay.probedUntilMs = 0;
  if (isHeard) relay.heardAtMs = nowMs;
  else relay.silentAtMs = nowMs;
  return isHeard ? undefined : SILENT;
}

/** Any answer will do, whatever its status. */
async function isThere(url: string): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(SILENCE_PROBE_MS);
    const answer = await fetch(url, { method: "HEAD", redirect: "manual", signal });
    await answer.body?.cancel();
    return true;
  } catch {
    // Out of time, refused, reset.
    return false;
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
