// Clients of a run: requests that begin at their own time, however the ones before fare, over real
// connections. Half a second of a cluster that is gone is fifty requests, not one that waits.

import { setTimeout as sleep } from "node:timers/promises";
import { Pool } from "undici";
import { ask, type Front } from "./ask.ts";
import type { Seen } from "./account.ts";

/** Of the clients, all together. Requests beyond wait for one, as those of a real client would. */
const CONNECTIONS_MAX = 1_024;
/** Requests at once; one more is not sent, and counted as failed: nothing came of the ones before. */
const IN_FLIGHT_MAX = 4_000;
const TICK_MS = 5;

export interface TrafficOptions {
  readonly url: string;
  readonly key: string;
  readonly model: string;
  readonly ratePerS: number;
  readonly streams: number;
  /** Names of clusters by the addresses of their endpoints. */
  readonly clusterOf: ReadonlyMap<string, string>;
}

export class Traffic {
  /** In the order in which they ended. */
  readonly seen: Seen[] = [];
  readonly #options: TrafficOptions;
  readonly #pool: Pool;
  readonly #beganMs = performance.now();
  readonly #underWay = new Set<Promise<void>>();
  #sent = 0;
  #streamDebt = 0;

  constructor(options: TrafficOptions) {
    this.#options = options;
    this.#pool = new Pool(options.url, { connections: CONNECTIONS_MAX, pipelining: 1 });
  }

  /** Since the traffic began. */
  get nowMs(): number {
    return performance.now() - this.#beganMs;
  }

  /** Sends until `endMs` or the signal, and resolves when every client has its answer. */
  async run(endMs: number, signal: AbortSignal): Promise<void> {
    const { ratePerS } = this.#options;
    while (this.nowMs < endMs && !signal.aborted) {
      const due = Math.floor((Math.min(this.nowMs, endMs) / 1_000) * ratePerS);
      while (this.#sent < due) this.#send();
      await sleep(TICK_MS);
    }
    await Promise.all(this.#underWay);
    await this.#pool.close();
  }

  #send(): void {
    const { streams, clusterOf, key, model } = this.#options;
    this.#sent++;
    // Evenly mixed, not by chance: a run is short.
    this.#streamDebt += streams;
    const isStream = this.#streamDebt >= 1;
    if (isStream) this.#streamDebt--;
    const startedMs = this.nowMs;
    if (this.#underWay.size >= IN_FLIGHT_MAX) {
      const failed = { outcome: "failed", code: "not_sent", cluster: null, attempts: 0 } as const;
      this.seen.push({ startedMs, firstByteMs: null, endedMs: startedMs, isStream, ...failed });
      return;
    }
    const front: Front = { pool: this.#pool, key, model, clusterOf, nowMs: () => this.nowMs };
    const asked = ask(front, { number: this.#sent, isStream, startedMs }).then((each) => {
      this.seen.push(each);
      this.#underWay.delete(asked);
    });
    this.#underWay.add(asked);
  }
}
