// Which LoRA adapters each endpoint has active and waiting.
//
//   names      "sql" → 7, "chat" → 2, …        interned and counted, ADAPTER_NAMES_MAX in the pool
//   by slot    │ active ids … │ waiting ids … │   one array, taken when an endpoint first names one
//
// A decision asks every candidate about one name: the name is looked up once, then short runs of
// numbers are compared. A name that does not fit counts, but is absent wherever it is asked for: an
// endpoint may look worse than it is, never better.

import { assert } from "../support/assert.ts";

/** Distinct adapter names of one pool. */
export const ADAPTER_NAMES_MAX = 4_096;
/** Adapters remembered of one endpoint, active and waiting each; engines hold far fewer. */
export const ADAPTERS_PER_ENDPOINT_MAX = 64;

export type AdapterState = "active" | "waiting" | "absent";

/** What plugins read. */
export interface AdapterTable {
  /** Active wins where an adapter is both. A base model's name is absent everywhere. */
  stateOf(slot: number, modelName: string): AdapterState;
  activeCount(slot: number): number;
  waitingCount(slot: number): number;
  /** Adapters the endpoint can have active at once; 0 while unknown. */
  maxActive(slot: number): number;
}

/** An endpoint's adapters, as its engine reports them. */
export interface AdapterSample {
  readonly active: readonly string[];
  readonly waiting: readonly string[];
  /** 0: unknown. */
  readonly maxActive: number;
  /** Where more are active, or waiting, than are named. */
  readonly activeCount?: number;
  readonly waitingCount?: number;
}

const NO_ID = 0;

/** The writable side; owned by an EndpointTable. */
export class Adapters implements AdapterTable {
  readonly #max: Int32Array;
  readonly #activeCounts: Uint16Array;
  readonly #waitingCounts: Uint16Array;
  /** By slot: ids, active ones from 0, waiting ones from ADAPTERS_PER_ENDPOINT_MAX; NO_ID ends each. */
  readonly #ids: (Uint16Array | undefined)[] = [];
  readonly #idByName = new Map<string, number>();
  /** By id. */
  readonly #names: string[] = [""];
  readonly #uses: number[] = [0];
  readonly #freeIds: number[] = [];
  // Decisions ask about one name many times in a row.
  #askedName = "";
  #askedId = NO_ID;

  /** `max` is the column that maxActive reads; the caller owns it. */
  constructor(max: Int32Array) {
    this.#max = max;
    this.#activeCounts = new Uint16Array(max.length);
    this.#waitingCounts = new Uint16Array(max.length);
  }

  stateOf(slot: number, modelName: string): AdapterState {
    if (modelName !== this.#askedName) {
      this.#askedName = modelName;
      this.#askedId = this.#idByName.get(modelName) ?? NO_ID;
    }
    const ids = this.#ids[slot];
    if (this.#askedId === NO_ID || ids === undefined) return "absent";
    if (holds(ids, 0, this.#askedId)) return "active";
    return holds(ids, ADAPTERS_PER_ENDPOINT_MAX, this.#askedId) ? "waiting" : "absent";
  }

  activeCount(slot: number): number {
    return this.#activeCounts[slot]!;
  }

  waitingCount(slot: number): number {
    return this.#waitingCounts[slot]!;
  }

  maxActive(slot: number): number {
    return this.#max[slot]!;
  }

  /** Names in use; at most ADAPTER_NAMES_MAX. */
  get nameCount(): number {
    return this.#idByName.size;
  }

  /** Names of adapters that are active somewhere, at most `namesMax`. O(endpoints). */
  activeNames(namesMax: number): string[] {
    const active = new Set<number>();
    for (const ids of this.#ids) {
      if (ids === undefined) continue;
      for (let at = 0; at < ADAPTERS_PER_ENDPOINT_MAX && ids[at] !== NO_ID; at++) {
        if (active.size < namesMax) active.add(ids[at]!);
      }
    }
    return Array.from(active, (id) => this.#names[id]!);
  }

  /** What `set` was given of `slot`, as far as it is remembered. */
  sampleOf(slot: number): AdapterSample | undefined {
    const ids = this.#ids[slot];
    if (ids === undefined) return undefined;
    return {
      active: this.#namesOf(ids, 0),
      waiting: this.#namesOf(ids, ADAPTERS_PER_ENDPOINT_MAX),
      maxActive: this.#max[slot]!,
      activeCount: this.#activeCounts[slot]!,
      waitingCount: this.#waitingCounts[slot]!,
    };
  }

  #namesOf(ids: Uint16Array, from: number): string[] {
    const end = ids.indexOf(NO_ID, from);
    const most = from + ADAPTERS_PER_ENDPOINT_MAX;
    const named = ids.subarray(from, end < 0 || end > most ? most : end);
    return Array.from(named, (id) => this.#names[id]!);
  }

  /** Replaces what is known of `slot`. */
  set(slot: number, sample: AdapterSample): void {
    const { active, waiting, maxActive } = sample;
    const { activeCount = active.length, waitingCount = waiting.length } = sample;
    const before = this.#ids[slot];
    const ids = new Uint16Array(2 * ADAPTERS_PER_ENDPOINT_MAX);
    // The new ones first: a name that stays keeps its id.
    this.#fill(ids, 0, active);
    this.#fill(ids, ADAPTERS_PER_ENDPOINT_MAX, waiting);
    this.#ids[slot] = ids;
    if (before !== undefined) this.#release(before);
    this.#activeCounts[slot] = Math.min(0xffff, activeCount);
    this.#waitingCounts[slot] = Math.min(0xffff, waitingCount);
    this.#max[slot] = Math.max(0, Math.trunc(maxActive));
    this.#askedName = "";
    this.#askedId = NO_ID;
  }

  /** Nothing is known of `slot` any more: its engine is new, or another endpoint has it. */
  clear(slot: number): void {
    const ids = this.#ids[slot];
    if (ids !== undefined) this.#release(ids);
    this.#ids[slot] = undefined;
    this.#activeCounts[slot] = 0;
    this.#waitingCounts[slot] = 0;
    this.#max[slot] = 0;
    this.#askedName = "";
    this.#askedId = NO_ID;
  }

  #fill(ids: Uint16Array, from: number, names: readonly string[]): void {
    let at = from;
    for (const name of names) {
      if (at === from + ADAPTERS_PER_ENDPOINT_MAX) return;
      const id = this.#intern(name);
      if (id !== NO_ID) ids[at++] = id;
    }
  }

  /** NO_ID when there are too many names. */
  #intern(name: string): number {
    const known = this.#idByName.get(name);
    if (known !== undefined) {
      this.#uses[known]! += 1;
      return known;
    }
    if (this.#idByName.size >= ADAPTER_NAMES_MAX) return NO_ID;
    const id = this.#freeIds.pop() ?? this.#names.length;
    this.#names[id] = name;
    this.#uses[id] = 1;
    this.#idByName.set(name, id);
    return id;
  }

  #release(ids: Uint16Array): void {
    for (const id of ids) {
      if (id === NO_ID) continue;
      this.#uses[id]! -= 1;
      assert(this.#uses[id]! >= 0, "an adapter's name is released once for each use");
      if (this.#uses[id]! > 0) continue;
      this.#idByName.delete(this.#names[id]!);
      this.#freeIds.push(id);
    }
  }
}

function holds(ids: Uint16Array, from: number, id: number): boolean {
  for (let at = from; at < from + ADAPTERS_PER_ENDPOINT_MAX; at++) {
    const held = ids[at];
    if (held === id) return true;
    if (held === NO_ID) return false;
  }
  return false;
}
