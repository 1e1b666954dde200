// The owner of a pool's EndpointColumns: gives and frees slots, applies samples, counts load.

import type { AdapterSample } from "./adapters.ts";
import { Columns } from "./columns.ts";
import { DispatchTotals } from "./dispatch-totals.ts";
import type { EndpointColumns } from "./endpoint-columns.ts";
import type { HandOver, SpeedObservation } from "./engine-speeds.ts";
import { ProcessStarts } from "./process-starts.ts";
import { DISPATCH_TRAVEL_MS, RecentDispatches } from "./recent-dispatches.ts";
import { type OthersLoad, type OwnLoad, SharedLoads } from "./shared-loads.ts";
import { TouchedSlots } from "./touched-slots.ts";

/** Slots of one pool: pods times data-parallel ranks. */
export const ENDPOINTS_MAX = 1024;

/** What names an endpoint. */
export interface Endpoint {
  /** Unique in the pool and stable across restarts of the engine. */
  readonly id: string;
  /** `host:port`. */
  readonly address: string;
  readonly engine: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** One engine sample. Absent fields keep their last value, and so do NaN and infinities. */
export interface EndpointSample {
  readonly waiting?: number;
  readonly running?: number;
  /** 0..1; values outside are clamped. */
  readonly kvUsage?: number;
  readonly kvBlockSize?: number;
  readonly kvBlocks?: number;
  /** Unix seconds at which the engine's process began, as it reports it. */
  readonly processStartS?: number;
  /** By attribute key; NaN for one that the engine has stopped to publish. */
  readonly scalars?: ReadonlyMap<string, number>;
  /**
   * A load that the engine used to report was not there. What was there is taken, but the sample does
   * not count as newer: an endpoint that is half silent goes stale like one that is silent. So is each
   * sample without `waiting`, said to be partial or not.
   */
  readonly isPartial?: boolean;
  /** Engines that the loads are means of, where an endpoint is a whole cluster; 1 where absent. */
  readonly replicas?: number;
}

/** The prompt of a request, and what of it is not cached where it is sent. */
export interface PromptWork {
  readonly promptTokens: number;
  readonly uncachedTokens: number;
}
const NOTHING: PromptWork = { promptTokens: 0, uncachedTokens: 0 };

/** Moment of a dispatch that a sample had shown before it was told: nothing is to be taken back of it. */
const SHOWN_MS = -Infinity;

/** What a request finds where it is sent. */
export interface Dispatched {
  readonly atMs: number;
  /** Prompt tokens to be computed before its own. */
  readonly aheadTokens: number;
  /** Of them, those that other objects have told of: how much of it is left is not known well. */
  readonly heardTokens?: number;
  /** Its KV memory is not free yet: it will wait for others to end. */
  readonly isHeld: boolean;
}

const INT32_MAX = 0x7fffffff;
/**
 * Tokens no engine's cache holds. Beyond it a capacity is unknown: one engine that tells nonsense must
 * not look like a cache that never fills, or turn what is computed of it into infinities.
 */
export const KV_CAPACITY_TOKENS_MAX = 2 ** 40;

function isKnown(value: number | undefined): value is number {
  return value !== undefined && Number.isFinite(value);
}

function count(value: number): number {
  return Math.min(INT32_MAX, Math.max(0, Math.trunc(value)));
}

/** 0, that is unknown, where the product is no number of tokens. */
function capacityTokens(blockSize: number, blocks: number): number {
  const tokens = blockSize * blocks;
  return tokens <= KV_CAPACITY_TOKENS_MAX ? tokens : 0;
}

/** One per pool. About 150 kB, whatever the number of endpoints, and 8 kB a scalar. */
export class EndpointTable {
  readonly totals = new DispatchTotals();
  /** By requests that were sent, or have ended. For one reader: see SnapshotSource. */
  readonly touched = new TouchedSlots(ENDPOINTS_MAX);
  readonly #columns = new Columns(ENDPOINTS_MAX);
  readonly #shared = new SharedLoads(this.#columns);
  readonly #endpoints: (Endpoint | undefined)[] = [];
  readonly #slotById = new Map<string, number>();
  readonly #slotByAddress = new Map<string, number>();
  readonly #free: number[] = [];
  #changes = 0;
  /** Waiting requests as last reported, 0 before that; the column adds the dispatches. */
  readonly #reportedWaiting = new Int32Array(ENDPOINTS_MAX);
  readonly #dispatches = new RecentDispatches(ENDPOINTS_MAX);
  readonly #kvBlockSize = new Float64Array(ENDPOINTS_MAX);
  readonly #kvBlocks = new Float64Array(ENDPOINTS_MAX);
  /** What is sent to an endpoint is spread over so many engines. */
  readonly #replicas = new Float64Array(ENDPOINTS_MAX);
  readonly #starts = new ProcessStarts(ENDPOINTS_MAX);

  get columns(): EndpointColumns {
    return this.#columns;
  }

  /** Endpoints that have come, gone or changed so far. */
  get changes(): number {
    return this.#changes;
  }

  get size(): number {
    return this.#slotById.size;
  }

  /**
   * Adds an endpoint, or updates address, engine and labels of one whose id is known. Undefined
   * when the pool is full or the address belongs to another endpoint.
   */
  add(endpoint: Endpoint): number | undefined {
    const known = this.#slotById.get(endpoint.id);
    const holder = this.#slotByAddress.get(endpoint.address);
    if (holder !== undefined && holder !== known) return undefined;
    const slot = known ?? this.#takeSlot();
    if (slot === undefined) return undefined;
    this.#changes += 1;
    if (known !== undefined) this.#slotByAddress.delete(this.#endpoints[known]!.address);
    this.#endpoints[slot] = endpoint;
    this.#slotById.set(endpoint.id, slot);
    this.#slotByAddress.set(endpoint.address, slot);
    return slot;
  }

  /** Frees a slot. The caller also removes it from the prefix tree and tells the picker. */
  remove(slot: number): void {
    const endpoint = this.#endpoints[slot];
    if (endpoint === undefined) return;
    this.#changes += 1;
    this.#slotById.delete(endpoint.id);
    this.#slotByAddress.delete(endpoint.address);
    this.#endpoints[slot] = undefined;
    this.#columns.isPresent[slot] = 0;
    this.#columns.ejectedUntilMs[slot] = 0;
    this.#columns.adapters.clear(slot);
    this.#free.push(slot);
  }

  /** Puts an endpoint where the table has it that this one is a copy of: nothing is known of it yet. */
  place(slot: number, endpoint: Endpoint): void {
    this.remove(slot);
    const at = this.#free.indexOf(slot);
    if (at >= 0) this.#free.splice(at, 1);
    this.#changes += 1;
    this.#clear(slot);
    this.#endpoints[slot] = endpoint;
    this.#slotById.set(endpoint.id, slot);
    this.#slotByAddress.set(endpoint.address, slot);
  }

  slotOf(id: string): number | undefined {
    return this.#slotById.get(id);
  }

  slotOfAddress(address: string): number | undefined {
    return this.#slotByAddress.get(address);
  }

  endpoint(slot: number): Endpoint | undefined {
    return this.#endpoints[slot];
  }

  /** Slots in use, ascending. */
  *slots(): Generator<number> {
    for (let slot = 0; slot < this.#columns.slotCount; slot++) {
      if (this.#columns.isPresent[slot] === 1) yield slot;
    }
  }

  /**
   * Takes over a sample. Dispatches that had reached the engine by then are in its numbers and are
   * counted no more; those made while it was under way still are. A sample without the queue's length
   * does not count as newer: whoever stops to tell it, or is a new process that does not, must not look
   * fresh with the length it once had. `sampledAtMs` is Unix time.
   *
   * True if the engine's process is another one than before: what is believed of its cache is void.
   */
  applySample(slot: number, sample: EndpointSample, sampledAtMs: number): boolean {
    const columns = this.#columns;
    const { waiting, running, kvUsage, kvBlockSize, kvBlocks } = sample;
    const isRestarted = this.#starts.isRestarted(slot, sample.processStartS, sampledAtMs);
    if (isRestarted) {
      columns.adapters.clear(slot);
      this.forgetLoads(slot);
    }
    if (sample.scalars !== undefined) columns.scalars.apply(slot, sample.scalars);
    if (isKnown(running)) columns.runningRequests[slot] = count(running);
    if (isKnown(kvUsage)) columns.kvUsage[slot] = Math.min(1, Math.max(0, kvUsage));
    if (isKnown(kvBlockSize)) this.#kvBlockSize[slot] = Math.max(0, kvBlockSize);
    if (isKnown(kvBlocks)) this.#kvBlocks[slot] = Math.max(0, kvBlocks);
    columns.kvCapacityTokens[slot] = capacityTokens(
      this.#kvBlockSize[slot]!,
      this.#kvBlocks[slot]!,
    );
    if (!isKnown(waiting)) return isRestarted;
    this.#reportedWaiting[slot] = count(waiting);
    this.#replicas[slot] = Math.max(1, sample.replicas ?? 1);
    if (sample.isPartial !== true) {
      this.#dispatches.sampled(slot, sampledAtMs);
      this.#shared.sampled(slot, sampledAtMs - DISPATCH_TRAVEL_MS);
      columns.sampledAtMs[slot] = sampledAtMs;
    }
    this.#setQueueDepth(slot);
    return isRestarted;
  }

  /** What `slot` has told of its load counts no more: as if it had never been sampled. */
  forgetLoads(slot: number): void {
    const columns = this.#columns;
    columns.runningRequests[slot] = 0;
    columns.kvUsage[slot] = 1;
    columns.kvCapacityTokens[slot] = 0;
    columns.sampledAtMs[slot] = -Infinity;
    this.#kvBlockSize[slot] = 0;
    this.#kvBlocks[slot] = 0;
    this.#reportedWaiting[slot] = 0;
    this.#replicas[slot] = 1;
    this.#setQueueDepth(slot);
  }

  /**
   * Nobody samples `slot`, by design: its queue is what has been sent there and has not ended. A sample
   * that comes after all counts.
   */
  goUnsampled(slot: number): void {
    this.forgetLoads(slot);
    this.#columns.sampledAtMs[slot] = Infinity;
  }

  /** The queue of a copied endpoint, after its columns: what was dispatched to it is in the number. */
  restoreQueue(slot: number, waiting: number, replicas: number): void {
    this.#columns.work.copied(slot);
    this.#dispatches.clear(slot);
    const sampledAtMs = this.#columns.sampledAtMs[slot]!;
    if (Number.isFinite(sampledAtMs)) this.#dispatches.sampled(slot, sampledAtMs);
    this.#reportedWaiting[slot] = count(waiting);
    this.#replicas[slot] = Math.max(1, replicas);
    this.#setQueueDepth(slot);
  }

  /** Engines that the loads of `slot` are means of. */
  replicasOf(slot: number): number {
    return this.#replicas[slot]!;
  }

  /** Replaces what is known of the adapters of `slot`. */
  applyAdapters(slot: number, adapters: AdapterSample): void {
    this.#columns.adapters.set(slot, adapters);
  }

  /** See Adapters. */
  activeAdapters(namesMax: number): string[] {
    return this.#columns.adapters.activeNames(namesMax);
  }

  /** See Adapters. */
  adaptersOf(slot: number): AdapterSample | undefined {
    return this.#columns.adapters.sampleOf(slot);
  }

  /** Nothing is known of the adapters of `slot` any more. */
  forgetAdapters(slot: number): void {
    this.#columns.adapters.clear(slot);
  }

  /** Says which scalars there are; see Scalars.define. */
  defineScalars(attributeKeys: readonly string[]): void {
    this.#columns.scalars.define(attributeKeys);
  }

  get scalarKeys(): readonly string[] {
    return this.#columns.scalars.keys;
  }

  /**
   * Counts a request sent to `slot`: visible to the next decision at once. `tokens` are what it adds
   * to the KV memory in use, `prompt.uncachedTokens` among them.
   */
  dispatched(slot: number, tokens: number, nowMs: number, prompt = NOTHING): Dispatched {
    this.#dispatches.add(slot, nowMs);
    return this.#dispatched(slot, tokens, nowMs, prompt);
  }

  /**
   * The same of a request that was sent at `atMs` and is told only now. Where a sample has shown it
   * meanwhile, the queue column does not count it again.
   */
  dispatchedBefore(slot: number, tokens: number, atMs: number, prompt = NOTHING): Dispatched {
    const isShown = !this.#dispatches.addLate(slot, atMs);
    const dispatched = this.#dispatched(slot, tokens, atMs, prompt);
    return isShown ? { ...dispatched, atMs: SHOWN_MS } : dispatched;
  }

  #dispatched(slot: number, tokens: number, nowMs: number, prompt: PromptWork): Dispatched {
    this.touched.add(slot);
    const columns = this.#columns;
    const isHeld = this.#isHeld(slot, tokens);
    const msPerToken = columns.prefillMsPerToken[slot]!;
    const request = { nowMs, kvTokens: tokens, msPerToken, ...prompt };
    const aheadTokens = columns.work.sent(slot, request, this.size) / msPerToken;
    this.#setQueueDepth(slot);
    this.#shared.dispatched(slot, tokens);
    this.#shared.worked(slot, prompt.uncachedTokens);
    this.totals.add(tokens, prompt);
    const heardTokens = columns.work.othersLeftMs(slot, nowMs) / msPerToken;
    return { atMs: nowMs, aheadTokens, heardTokens, isHeld };
  }

  /** The prompt of a dispatched request is not going to be computed at `slot` after all. */
  takenBack(slot: number, uncachedTokens: number, nowMs: number): void {
    this.touched.add(slot);
    const columns = this.#columns;
    const uncachedMs = uncachedTokens * columns.prefillMsPerToken[slot]!;
    columns.work.takenBack(slot, uncachedMs, nowMs);
    this.#shared.worked(slot, -uncachedTokens);
  }

  /** A request that was sent to `slot` to be decoded is going to be computed there as well. */
  promptAdded(slot: number, prompt: PromptWork, nowMs: number): void {
    this.touched.add(slot);
    const columns = this.#columns;
    const msPerToken = columns.prefillMsPerToken[slot]!;
    columns.work.added(slot, { nowMs, ...prompt, msPerToken }, this.size);
    this.#shared.worked(slot, prompt.uncachedTokens);
    this.totals.addUncached(prompt.uncachedTokens);
  }

  /** A request that `slot` has served teaches how fast it is. */
  completed(slot: number, observation: SpeedObservation): void {
    this.#columns.speeds.observe(slot, observation);
  }

  /** A prompt that was computed elsewhere teaches how long blocks take to get to `slot`. */
  handedOver(slot: number, handOver: HandOver): void {
    this.#columns.speeds.handedOver(slot, handOver);
  }

  /** Whether a request has taught how fast the engines are; see EngineSpeeds. */
  hasLearned(of: "prefill" | "service"): boolean {
    return this.#columns.speeds.isLearned(of);
  }

  /**
   * Ends what `dispatched` began, with the same tokens. Where no sample has shown it, the queue column
   * counts it no more; where one has, the engine's numbers do until its next sample.
   */
  released(slot: number, tokens: number, dispatchedAtMs: number): void {
    this.touched.add(slot);
    if (dispatchedAtMs !== SHOWN_MS) this.#dispatches.remove(slot, dispatchedAtMs);
    this.#setQueueDepth(slot);
    this.#shared.released(slot, tokens);
  }

  /** What this object has sent to `slot`: for the pool's other objects. */
  ownLoad(slot: number): OwnLoad {
    return this.#shared.own(slot, this.#dispatches.count(slot));
  }

  /** What the pool's other objects have there, in the place of what was told before; see SharedLoads. */
  setOthersLoad(slot: number, load: OthersLoad | undefined, nowMs: number): void {
    this.#shared.setOthers(slot, load, nowMs);
    this.#setQueueDepth(slot);
  }

  /** See SharedLoads. */
  shownUntilMs(slot: number): number {
    return this.#shared.shownUntilMs(slot);
  }

  /** The pool's other objects have sent prefill there, or, below 0, taken it back. */
  workedElsewhere(slot: number, tokens: number, nowMs: number): void {
    const { work, prefillMsPerToken } = this.#columns;
    work.workedElsewhere(slot, tokens * prefillMsPerToken[slot]!, nowMs);
  }

  /** Each of so many objects is taken to do as much as this one does; 1 where they tell what they do. */
  assumeAlike(objects: number): void {
    if (!this.#shared.setFactor(objects)) return;
    for (const slot of this.slots()) this.#setQueueDepth(slot);
  }

  /** Keeps `slot` out of decisions until `untilMs`, as far as others are there; 0 lets it back. */
  eject(slot: number, untilMs: number): void {
    this.#columns.ejectedUntilMs[slot] = untilMs;
  }

  /** It came, or came back, at `nowMs`, and is to be spared for a while. */
  came(slot: number, nowMs: number): void {
    this.#columns.cameAtMs[slot] = nowMs;
  }

  /** Whether memory in use and what is on its way there leave no room for `tokens` more. */
  #isHeld(slot: number, tokens: number): boolean {
    const { kvCapacityTokens, kvUsage, queueDepth, requestTokens } = this.#columns;
    const capacity = kvCapacityTokens[slot]!;
    const onTheWay = queueDepth[slot]! * requestTokens[slot]!;
    return capacity > 0 && kvUsage[slot]! * capacity + onTheWay + tokens > capacity;
  }

  #setQueueDepth(slot: number): void {
    const reported = this.#reportedWaiting[slot]!;
    const unseen = this.#shared.unseen(slot, this.#dispatches.count(slot));
    const sent = unseen / this.#replicas[slot]!;
    this.#columns.queueDepth[slot] = count(reported + sent);
  }

  #takeSlot(): number | undefined {
    const slot = this.#free.pop() ?? this.#columns.slotCount;
    if (slot >= ENDPOINTS_MAX) return undefined;
    this.#clear(slot);
    return slot;
  }

  #clear(slot: number): void {
    const columns = this.#columns;
    columns.slotCount = Math.max(columns.slotCount, slot + 1);
    columns.isPresent[slot] = 1;
    this.#shared.clear(slot);
    columns.ejectedUntilMs[slot] = 0;
    columns.cameAtMs[slot] = 0;
    this.#dispatches.clear(slot);
    this.forgetLoads(slot);
    this.#starts.clear(slot);
    columns.speeds.clear(slot);
    columns.work.clear(slot, columns.isPresent);
    columns.adapters.clear(slot);
    columns.scalars.clear(slot);
  }
}
