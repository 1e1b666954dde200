// Which of a pool's relays to try first.

import { DEPLOYMENT_LIMITS, type RelayConfig } from "../../config/deployment.ts";

/** How long a relay that could not be reached is tried last. Then it counts as good again. */
export const UNREACHABLE_MS = 5_000;
/** Relays remembered as unreachable; every relay of a full deployment fits. */
export const MARKS_MAX = DEPLOYMENT_LIMITS.poolsMax * DEPLOYMENT_LIMITS.relaysPerPoolMax;

/** What one isolate has seen of relays. */
export class RelayMarks {
  readonly #unreachableUntilMs = new Map<string, number>();

  mark(url: string, nowMs: number): void {
    if (this.#unreachableUntilMs.size >= MARKS_MAX) this.#unreachableUntilMs.clear();
    this.#unreachableUntilMs.set(url, nowMs + UNREACHABLE_MS);
  }

  isMarked(url: string, nowMs: number): boolean {
    return (this.#unreachableUntilMs.get(url) ?? -Infinity) > nowMs;
  }

  /**
   * All of `relays`, in the order to try them: beginning anywhere, so that they share the load, and
   * the marked ones last. `random` is in [0, 1).
   */
  order(relays: readonly RelayConfig[], nowMs: number, random: number): RelayConfig[] {
    const start = Math.floor(random * relays.length);
    const rotated = [...relays.slice(start), ...relays.slice(0, start)];
    const good = rotated.filter((relay) => !this.isMarked(relay.url, nowMs));
    const marked = rotated.filter((relay) => this.isMarked(relay.url, nowMs));
    return [...good, ...marked];
  }
}
