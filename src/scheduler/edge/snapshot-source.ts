// The object's side of snapshots: what of its pool has changed since the version that an isolate has.
//
//   scan   each slot's row is compared with the one of the scan before; the version rises if any differs
//   take   rows whose version of change is above the one that the isolate has
//
// A scan costs O(endpoints), is made when somebody asks, and not again within SCAN_INTERVAL_MS. Who has just told of
// requests is shown them: meanwhile the slots alone are compared that requests have changed since the last look,
// each once, however many isolates tell. Nothing is kept of an isolate that could not be made again: the memory is one row and two
// numbers a slot, however many isolates there are, and any version of this epoch can be brought up to date.
//
// Of a pool of more than EDGE_ENDPOINTS_MAX endpoints an isolate has a sample: those whose numbers, mixed with its
// seed, are the least. Where endpoints have come or left since its version it gets a whole snapshot, and so it does
// when the pool is no larger than that any more.

import { type EndpointTable, ENDPOINTS_MAX, type Endpoint } from "../model/endpoint-table.ts";
import type { Clock } from "../support/clock.ts";
import {
  EDGE_ENDPOINTS_MAX,
  type EdgeDigest,
  type EdgeKnown,
  type EdgeSnapshot,
} from "./contracts.ts";
import { DispatchRates } from "./dispatch-rates.ts";
import { mixed } from "../kv/pair-words.ts";
import { RowPacker } from "./rows.ts";

/** Isolates whose samples are remembered; the one that asked longest ago is forgotten first. */
const SAMPLES_MAX = 256;
/** Between two scans of all endpoints. */
export const SCAN_INTERVAL_MS = 20;

export interface SnapshotSourceOptions {
  /** Random at each construction of the object. */
  readonly epoch: string;
  readonly table: EndpointTable;
  readonly clock: Clock;
  /** What of the digest an isolate needs that has this version of it; see PairDigestSource. */
  readonly digest?: (known: string) => EdgeDigest | undefined;
}

/** What a snapshot says besides: as of now, whatever the isolate has. */
export type PoolFacts = Omit<
  EdgeSnapshot,
  | "epoch"
  | "version"
  | "base"
  | "endpoints"
  | "removed"
  | "rows"
  | "names"
  | "leftOut"
  | "rate"
  | "lane"
  | "digest"
>;

export class SnapshotSource {
  readonly #options: SnapshotSourceOptions;
  readonly #packer = new RowPacker();
  /** Of scans: its names stay the same. */
  readonly #scanned = new RowPacker();
  readonly #rates: DispatchRates;
  #version = 1;
  #scannedAtMs = -Infinity;
  /** By slot: as of the last scan, and the version at which it became so. */
  readonly #rows: (Uint8Array | undefined)[] = [];
  readonly #endpoints: (Endpoint | undefined)[] = [];
  readonly #rowVersions = new Float64Array(ENDPOINTS_MAX);
  readonly #endpointVersions = new Float64Array(ENDPOINTS_MAX);
  /** Version at which an endpoint came or left last. */
  #membershipVersion = 1;
  /** By seed, who asked longest ago first; of the version at which an endpoint came or left last. */
  readonly #samples = new Map<number, readonly number[]>();
  #samplesVersion = 0;
  /** Who has this version or an older one may have a sample only. */
  #sampledVersion = 0;

  constructor(options: SnapshotSourceOptions) {
    this.#options = options;
    this.#rates = new DispatchRates(options.table.totals);
  }

  /**
   * Brings an isolate up to date. `isCurrent`: with all requests that were told of up to now, as the answer to `sync`
   * must.
   */
  take(known: EdgeKnown, facts: PoolFacts, isCurrent: boolean): EdgeSnapshot {
    const { epoch, clock, table, digest } = this.#options;
    const nowMs = clock();
    if (this.#isScanOld(nowMs)) this.#scan(nowMs);
    else if (isCurrent) this.#scanTouched();
    const slots = this.#sampleFor(known.seed ?? 0);
    const isDelta = this.#isDelta(known, slots);
    const base = isDelta ? known.version : null;
    const since = isDelta ? known.version : 0;
    const changed = since === this.#version ? [] : this.#changedSince(since, slots);
    const part = known.digest === undefined ? undefined : digest?.(known.digest);
    const rate = this.#rates.rate;
    return {
      ...facts,
      epoch,
      version: this.#version,
      base,
      endpoints: changed
        .filter((slot) => this.#endpointVersions[slot]! > since)
        .map((slot) => ({ slot, ...this.#endpoints[slot]! })),
      removed: isDelta ? this.#removedSince(since) : [],
      ...this.#packer.pack(table, changed, nowMs),
      leftOut: table.size - slots.length,
      ...(rate === undefined ? {} : { rate }),
      ...(part === undefined ? {} : { digest: part }),
    };
  }

  /** Endpoints that come and go are told at once: a row must not be taken for that of another endpoint. */
  #isScanOld(nowMs: number): boolean {
    if (nowMs - this.#scannedAtMs >= SCAN_INTERVAL_MS) return true;
    const { table } = this.#options;
    for (let slot = 0; slot < table.columns.slotCount; slot++)
      if (table.endpoint(slot) !== this.#endpoints[slot]) return true;
    return false;
  }

  /** A sample is another one when endpoints have come or left. */
  #isDelta({ epoch, version }: EdgeKnown, slots: readonly number[]): boolean {
    if (epoch !== this.#options.epoch || version < 1 || version > this.#version) return false;
    const isSample = slots.length < this.#options.table.size;
    return isSample ? this.#membershipVersion <= version : this.#sampledVersion < version;
  }

  #removedSince(version: number): number[] {
    const removed: number[] = [];
    for (let slot = 0; slot < this.#endpoints.length; slot++) {
      if (this.#endpoints[slot] === undefined && this.#endpointVersions[slot]! > version)
        removed.push(slot);
    }
    return removed;
  }

  /** An endpoint that is new or has changed has a row that has. */
  #changedSince(version: number, slots: readonly number[]): number[] {
    return slots.filter((slot) => this.#rowVersions[slot]! > version);
  }

  /** The same one until endpoints come or leave. */
  #sampleFor(seed: number): readonly number[] {
    if (this.#samplesVersion !== this.#membershipVersion) {
      this.#samples.clear();
      this.#samplesVersion = this.#membershipVersion;
    }
    const key = this.#options.table.size <= EDGE_ENDPOINTS_MAX ? ALL : seed;
    const sample = this.#samples.get(key) ?? this.#draw(seed);
    this.#samples.delete(key);
    this.#samples.set(key, sample);
    const [oldest] = this.#samples.keys();
    if (this.#samples.size > SAMPLES_MAX) this.#samples.delete(oldest!);
    return sample;
  }

  #draw(seed: number): readonly number[] {
    const slots = [...this.#options.table.slots()];
    if (slots.length <= EDGE_ENDPOINTS_MAX) return slots;
    const ranks = Float64Array.from(slots, (slot) => mixed((seed ^ mixed(slot + 1)) >>> 0));
    const last = ranks.toSorted()[EDGE_ENDPOINTS_MAX - 1]!;
    return slots.filter((_, i) => ranks[i]! <= last).slice(0, EDGE_ENDPOINTS_MAX);
  }

  #scan(nowMs: number): void {
    const { table } = this.#options;
    this.#scannedAtMs = nowMs;
    this.#rates.read(nowMs);
    const next = this.#version + 1;
    let isAny = false;
    const end = Math.max(table.columns.slotCount, this.#endpoints.length);
    for (let slot = 0; slot < end; slot++) {
      const isOther = this.#scanEndpoint(slot, next);
      if (this.#scanRow(slot, isOther, next) || isOther) isAny = true;
    }
    table.touched.take();
    this.#hasScanned(isAny);
  }

  /** Endpoints are those of the last scan. */
  #scanTouched(): void {
    const next = this.#version + 1;
    let isAny = false;
    for (const slot of this.#options.table.touched.take())
      if (this.#scanRow(slot, false, next)) isAny = true;
    this.#hasScanned(isAny);
  }

  #hasScanned(isAny: boolean): void {
    if (isAny) this.#version += 1;
    if (this.#options.table.size > EDGE_ENDPOINTS_MAX) this.#sampledVersion = this.#version;
  }

  #scanEndpoint(slot: number, version: number): boolean {
    const known = this.#endpoints[slot];
    const endpoint = this.#options.table.endpoint(slot);
    if (endpoint === known) return false;
    this.#endpoints[slot] = endpoint;
    if (endpoint !== undefined && known !== undefined && isSame(endpoint, known)) return false;
    this.#endpointVersions[slot] = version;
    if (endpoint?.id !== known?.id) this.#membershipVersion = version;
    return true;
  }

  #scanRow(slot: number, isOther: boolean, version: number): boolean {
    if (this.#endpoints[slot] === undefined) {
      this.#rows[slot] = undefined;
      return false;
    }
    const row = this.#scanned.packRow(this.#options.table, slot);
    const known = this.#rows[slot];
    if (!isOther && known !== undefined && areSame(row, known)) return false;
    if (known?.length === row.length) known.set(row);
    else this.#rows[slot] = row.slice();
    this.#rowVersions[slot] = version;
    return true;
  }
}

/** Key of the sample that each isolate has of a pool that is no larger: no seed is negative. */
const ALL = -1;

function isSame(one: Endpoint, other: Endpoint): boolean {
  return (
    one.id === other.id &&
    one.address === other.address &&
    one.engine === other.engine &&
    haveSameLabels(one.labels, other.labels)
  );
}

function haveSameLabels(one: Endpoint["labels"], other: Endpoint["labels"]): boolean {
  const names = Object.keys(one);
  return (
    names.length === Object.keys(other).length && names.every((name) => one[name] === other[name])
  );
}

function areSame(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  for (let i = 0; i < one.length; i++) if (one[i] !== other[i]) return false;
  return true;
}
