// Everything that waits in a pool, over all bands: found by name, ended in time, bounded in all.

import { TimerWheel } from "../support/timer-wheel.ts";
import type { Bands } from "./bands.ts";
import { fitsAlone, type QueueLimits, QueueLoad } from "./capacity.ts";
import type { QueuedRequest } from "./contracts.ts";
import { deadlineOf, type PoolRegime } from "./deadlines.ts";
import type { PriorityBand } from "./priority-band.ts";
import type { QueueEntry } from "./queue-entry.ts";

/** Entries of all bands, whatever the limits say. */
export const WAITING_MAX = 100_000;

export class WaitingRoom {
  readonly limits: QueueLimits;
  readonly #load = new QueueLoad();
  readonly #byKey = new Map<string, QueueEntry>();
  readonly #wheel: TimerWheel;
  /** Whose timer it is. */
  readonly #byTimer: (QueueEntry | undefined)[] = [];
  /** undefined until it is told. */
  #regime: PoolRegime | undefined;

  constructor(limits: QueueLimits, nowMs: number, regime?: PoolRegime) {
    this.#regime = regime;
    this.limits = { ...limits, requests: Math.min(WAITING_MAX, limits.requests) };
    this.#wheel = new TimerWheel(nowMs);
  }

  get load(): Readonly<QueueLoad> {
    return this.#load;
  }

  get regime(): PoolRegime | undefined {
    return this.#regime;
  }

  get hasEndpoints(): boolean {
    return this.#regime?.hasEndpoints ?? false;
  }

  /** Unix ms before which nobody's time ends. */
  get earliestMs(): number {
    return this.#wheel.earliestMs();
  }

  get(key: string): QueueEntry | undefined {
    return this.#byKey.get(key);
  }

  entries(): IterableIterator<QueueEntry> {
    return this.#byKey.values();
  }

  add(entry: QueueEntry, nowMs: number): void {
    const { band } = entry.flow;
    const always = { hasEndpoints: true, changedAtMs: -Infinity };
    entry.expiresAtMs = this.#deadlineOf(entry, always);
    this.#byKey.set(entry.key, entry);
    this.#load.add(entry.request);
    this.#startTimer(entry);
    band.add(entry, nowMs);
  }

  /** Of an entry that waits no more. One that was let through has left its band already. */
  remove(entry: QueueEntry, nowMs: number): void {
    this.#byKey.delete(entry.key);
    this.#load.remove(entry.request);
    this.#stopTimer(entry);
    if (entry.ageIndex >= 0) entry.flow.band.remove(entry, nowMs);
  }

  /** Those whose time has ended; they wait until they are removed. */
  expired(nowMs: number): QueueEntry[] {
    const entries: QueueEntry[] = [];
    this.#wheel.advance(nowMs, (timer) => {
      const entry = this.#byTimer[timer]!;
      entry.timer = -1;
      this.#byTimer[timer] = undefined;
      entries.push(entry);
    });
    return entries;
  }

  /**
   * Another patience holds for everybody who waits when the pool's last endpoint goes, or its first
   * comes. What is told first is no change: an object that has lost its memory gives nobody time anew.
   */
  setHasEndpoints(hasEndpoints: boolean, nowMs: number): void {
    if (hasEndpoints === this.#regime?.hasEndpoints) return;
    const changedAtMs = this.#regime === undefined ? -Infinity : nowMs;
    this.#regime = { hasEndpoints, changedAtMs };
    for (const entry of this.#byKey.values()) {
      this.#stopTimer(entry);
      this.#startTimer(entry);
    }
  }

  /**
   * Who must go so that `request` may wait: of the lowest band below its own the newest first, then of
   * the next. Empty if there is room as it is; undefined if there is none, or not for so little.
   */
  roomFor(request: QueuedRequest, band: PriorityBand, bands: Bands): QueueEntry[] | undefined {
    if (this.#load.hasRoomFor(request, this.limits)) return [];
    if (!fitsAlone(request, this.limits)) return undefined;
    return this.#displaced(request, band, bands);
  }

  /** The same for one that waits already, and for which there may be no room. */
  roomAround({ request, flow }: QueueEntry, bands: Bands): QueueEntry[] | undefined {
    const itself = new QueueLoad();
    itself.add(request);
    if (this.#load.hasRoomFor(request, this.limits, itself)) return [];
    return this.#displaced(request, flow.band, bands, itself);
  }

  #displaced(
    request: QueuedRequest,
    band: PriorityBand,
    bands: Bands,
    freed = new QueueLoad(),
  ): QueueEntry[] | undefined {
    const displaced: QueueEntry[] = [];
    for (const lower of bands.descending.toReversed()) {
      if (lower.priority >= band.priority) return undefined;
      for (const entry of lower.newestFirst()) {
        freed.add(entry.request);
        displaced.push(entry);
        if (this.#load.hasRoomFor(request, this.limits, freed)) return displaced;
        if (displaced.length >= DISPLACED_MAX) return undefined;
      }
    }
    return undefined;
  }

  #startTimer(entry: QueueEntry): void {
    const deadlineMs = this.#deadlineOf(entry, this.#regime ?? UNTOLD);
    if (deadlineMs === Infinity) return;
    entry.timer = this.#wheel.add(deadlineMs);
    this.#byTimer[entry.timer] = entry;
  }

  #stopTimer(entry: QueueEntry): void {
    if (entry.timer < 0) return;
    this.#wheel.remove(entry.timer);
    this.#byTimer[entry.timer] = undefined;
    entry.timer = -1;
  }

  #deadlineOf({ flow, request, receivedAtMs }: QueueEntry, regime: PoolRegime): number {
    return deadlineOf(request, receivedAtMs, flow.band.settings.ttls, regime);
  }
}

const UNTOLD: PoolRegime = { hasEndpoints: false, changedAtMs: -Infinity };
/** Requests that may have to go for one. */
export const DISPLACED_MAX = 64;
