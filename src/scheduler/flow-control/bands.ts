// The bands of a pool, by priority, and how bands and flows come and go.
//
// Bands are those of the configuration, those of objectives, and 0. A request of any other priority gets
// a band of its own, as long as there is room for one; it goes when it has been idle for a while. llm-d
// puts such a request into band 0, where one of an unknown negative priority is served before those
// of a known one. A request that finds no room for its band goes into the next lower one.

import { type BandSettings, PriorityBand } from "./priority-band.ts";
import type { Flow } from "./flow.ts";

/** With those that are declared. */
export const BANDS_MAX = 128;
/** Of all bands. */
export const FLOWS_MAX = 16_384;
export const FLOW_IDLE_MS = 300_000;
export const BAND_IDLE_MS = 600_000;
const COLLECT_EVERY_MS = 1_000;
/** The flow of whoever comes when there are FLOWS_MAX flows and none is idle. */
export const OVERFLOW_ID = "(overflow)";

export interface BandsSettings {
  readonly bands: ReadonlyMap<number, BandSettings>;
  readonly defaultBand: BandSettings;
  /** For priorities below 0. */
  readonly defaultNegativeBand: BandSettings;
}

export class Bands {
  readonly #settings: BandsSettings;
  readonly #byPriority = new Map<number, PriorityBand>();
  /** Highest first. */
  #descending: readonly PriorityBand[] = [];
  /** Flows without anything waiting or in flight, those idle longest first, and since when. */
  readonly #idle = new Map<Flow, number>();
  #flowCount = 0;
  #collectAtMs = 0;

  constructor(settings: BandsSettings, nowMs: number) {
    this.#settings = settings;
    this.declare([], nowMs);
  }

  /** Highest first. */
  get descending(): readonly PriorityBand[] {
    return this.#descending;
  }

  get flowCount(): number {
    return this.#flowCount;
  }

  /** Priorities of objectives, in the place of those declared before. At most what there is room for. */
  declare(priorities: readonly number[], nowMs: number): void {
    const declared = new Set([0, ...this.#settings.bands.keys(), ...priorities]);
    for (const priority of declared) this.#bandAt(priority, nowMs);
    for (const band of this.#descending) band.isDeclared = declared.has(band.priority);
  }

  /** The band that a request of that priority belongs to. */
  bandOf(priority: number, nowMs: number): PriorityBand {
    return this.#bandAt(priority, nowMs);
  }

  /** The flow of a request that is going to wait. */
  flowOf(band: PriorityBand, fairnessId: string): Flow {
    const known = band.flows.get(fairnessId);
    if (known !== undefined) return known;
    if (this.#flowCount >= FLOWS_MAX) this.#collectLongestIdle();
    const id = this.#flowCount >= FLOWS_MAX ? OVERFLOW_ID : fairnessId;
    if (!band.flows.has(id)) this.#flowCount += 1;
    return band.flowOf(id);
  }

  /** To be told whenever a request has joined the flow or has left it for good. */
  touched(flow: Flow, nowMs: number): void {
    this.#idle.delete(flow);
    if (flow.isIdle) this.#idle.set(flow, nowMs);
  }

  /** Forgets flows and bands that have been idle for long. */
  collect(nowMs: number): void {
    if (nowMs < this.#collectAtMs) return;
    this.#collectAtMs = nowMs + COLLECT_EVERY_MS;
    for (const [flow, sinceMs] of this.#idle) {
      if (nowMs - sinceMs < FLOW_IDLE_MS) break;
      this.#forget(flow);
    }
    for (const band of this.#descending) band.forgive(nowMs);
    const kept = this.#descending.filter(
      (band) => band.isDeclared || band.flows.size > 0 || nowMs - band.usedAtMs < BAND_IDLE_MS,
    );
    if (kept.length === this.#descending.length) return;
    this.#byPriority.clear();
    for (const band of kept) this.#byPriority.set(band.priority, band);
    this.#descending = kept;
  }

  #bandAt(priority: number, nowMs: number): PriorityBand {
    const known = this.#byPriority.get(priority);
    if (known !== undefined) return known;
    if (this.#descending.length >= BANDS_MAX)
      return this.#descending.find((band) => band.priority < priority) ?? this.#descending.at(-1)!;
    const { bands, defaultBand, defaultNegativeBand } = this.#settings;
    const settings = bands.get(priority) ?? (priority < 0 ? defaultNegativeBand : defaultBand);
    const band = new PriorityBand(priority, settings, nowMs);
    this.#byPriority.set(priority, band);
    this.#descending = [...this.#byPriority.values()].sort((a, b) => b.priority - a.priority);
    return band;
  }

  #collectLongestIdle(): void {
    const [flow] = this.#idle.keys();
    if (flow !== undefined) this.#forget(flow);
  }

  #forget(flow: Flow): void {
    this.#idle.delete(flow);
    flow.band.forget(flow);
    this.#flowCount -= 1;
  }
}
