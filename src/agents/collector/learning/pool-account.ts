// What a pool's sources hold, in content keys, whatever their engines' block size: an account for each size.
//
//   events of a source ──► the account of its block size ──► sink: (slot, content key, holding)
//   learned prompts ─────► every account, cut at its block size
//
// What a storage tier that all endpoints share holds makes none of them a better choice: it is counted only.
//
// A source's block size is what it says of blocks in its GPUs' memory, of a cache group that a prefix needs whole:
// other tiers may join several blocks, and windows and states may have blocks of their own sizes. An account that is
// new knows nothing of what was learned before, so the epoch changes with it, and whoever learned tells everything again.

import { randomUUID } from "node:crypto";
import { hitEndHigh, hitEndLow } from "../../../scheduler/kv/hit-end-keys.ts";
import type { HoldingSink } from "../../../scheduler/kv/residency/holding.ts";
import type { KeyChains } from "../../../scheduler/kv/residency/key-chains.ts";
import type {
  KvBlocksRemoved,
  KvBlocksStored,
  KvEventConsumer,
  KvEventSource,
} from "../../../scheduler/kv/residency/kv-event.ts";
import {
  ResidencyAccount,
  type SourceFigures,
} from "../../../scheduler/kv/residency/residency-account.ts";
import { TOKEN_SLOTS_MAX } from "../../../scheduler/kv/residency/token-holders.ts";
import { WHOLE_PREFIX_KINDS } from "../../../scheduler/kv/residency/kv-event.ts";
import type { MetricRegistry } from "../../../telemetry/metrics.ts";
import { METRIC } from "../../../telemetry/names.ts";
import type { LearnedContent } from "../../learning/learned-message.ts";
import { UnfollowedBlocks } from "../unfollowed-blocks.ts";

/** Block sizes of one pool; sources with further ones are not followed. */
export const BLOCK_SIZES_MAX = 4;

interface SizedAccount {
  readonly blockSize: number;
  /** What its slots begin at. */
  readonly base: number;
  readonly account: ResidencyAccount;
}

type EndpointFigures = Omit<SourceFigures, "slot" | "counts" | "lacksBlocks">;

const ENDPOINT_METRICS = [
  METRIC.kvAccountEndpointBytes,
  METRIC.kvAccountHeldBlocks,
  METRIC.kvAccountLearnedBlocks,
  METRIC.kvAccountKnownBlocks,
] as const;

export class PoolAccount implements KvEventConsumer {
  readonly #sink: HoldingSink;
  readonly #chains: KeyChains | undefined;
  readonly #process = randomUUID();
  /** In the order in which they came; they stay. */
  readonly #accounts: SizedAccount[] = [];
  readonly #bySource = new Map<KvEventSource, SizedAccount>();
  readonly #sources = new Map<string, Set<KvEventSource>>();
  #learnedPrompts = 0;
  #unevenPrompts = 0;
  #eventsLeftOut = 0;
  /** Sources that hold blocks of a size too many. */
  readonly #leftOut = new Set<KvEventSource>();
  readonly #unfollowed = new UnfollowedBlocks();

  /** `chains` learns which content block is behind which, before the sink is told of any. */
  constructor(sink: HoldingSink, chains?: KeyChains) {
    this.#sink = sink;
    this.#chains = chains;
  }

  /** Changes when something that was learned before is not known. */
  get epoch(): string {
    return `${this.#process}.${this.#accounts.length}`;
  }

  /** Whether what is learned is kept: some source has said its block size. */
  get isReady(): boolean {
    return this.#accounts.length > 0;
  }

  /** Content blocks of which it is known what they became. */
  get contentBlocks(): number {
    return this.#accounts.reduce((sum, { account }) => sum + account.contentBlocks, 0);
  }

  /**
   * Of the token blocks that an endpoint holds, the share that content is known for: 1 if it holds none.
   * What it thought counts as unknown, and so do answers that are not learned, and the last block of each.
   */
  knownShare(endpoint: string): number {
    const { heldBlocks, learnedBlocks } = this.#figures(endpoint);
    return heldBlocks === 0 ? 1 : learnedBlocks / heldBlocks;
  }

  /** Token blocks that an endpoint's ranks hold on any tier. */
  heldBlocks(endpoint: string): number {
    return this.#figures(endpoint).heldBlocks;
  }

  /** Whether an endpoint holds blocks that are not taken account of, for want of room or of block sizes. */
  lacksBlocks(endpoint: string): boolean {
    for (const source of this.#leftOut) if (source.endpoint === endpoint) return true;
    for (const source of this.#sources.get(endpoint) ?? []) {
      if (this.#bySource.get(source)?.account.figures(source)?.lacksBlocks !== false) return true;
    }
    return false;
  }

  /**
   * Tokens that a prompt becomes up to and with a content block, in whole blocks of the engines; where they
   * have blocks of several sizes, of the size that came first. `hit-end` of a key that says that a hit can end
   * with known content.
   */
  tokensUpTo(low: number, high: number): number | "hit-end" | undefined {
    const tokens = this.#tokensUpTo(low, high);
    if (tokens !== undefined) return tokens;
    // The masks are taken back by laying them on again.
    const isHitEnd = this.#tokensUpTo(hitEndLow(low), hitEndHigh(high)) !== undefined;
    return isHitEnd ? "hit-end" : undefined;
  }

  #tokensUpTo(low: number, high: number): number | undefined {
    for (const { account, blockSize } of this.#accounts) {
      const end = account.endOf(low, high);
      if (end !== undefined) return end * blockSize;
    }
    return undefined;
  }

  /** Whose blocks the sink is told of by this slot. */
  sourceAt(slot: number): KvEventSource | undefined {
    const sized = this.#accounts[Math.floor(slot / TOKEN_SLOTS_MAX)];
    return sized?.account.sourceAt(slot - sized.base);
  }

  /** Nothing is kept where no source has said its block size yet: the epoch changes when one does. */
  learn({ tokensPerKey, contentKeys, tokenKeys, tokenCounts }: LearnedContent): void {
    this.#learnedPrompts++;
    if (this.#accounts.length > 0) this.#chains?.learn(contentKeys);
    for (const { account, blockSize } of this.#accounts) {
      if (blockSize % tokensPerKey !== 0) {
        this.#unevenPrompts++;
        continue;
      }
      account.learn({
        contentKeys,
        tokenKeys: everyNth(tokenKeys, blockSize / tokensPerKey),
        ends: tokenCounts.map((count) => Math.floor(count / blockSize)),
      });
    }
  }

  stored(source: KvEventSource, event: KvBlocksStored): void {
    if (source.endpoint === null) {
      this.#unfollowed.shared += event.hashes.length / 2;
      return;
    }
    const sized = this.#accountFor(source, event);
    if (sized === undefined && !isOfWholePrefix(event)) {
      this.#unfollowed.ofOtherGroups += event.hashes.length / 2;
    } else if (sized === undefined) this.#eventsLeftOut++;
    else sized.account.stored(source, event);
  }

  removed(source: KvEventSource, event: KvBlocksRemoved): void {
    this.#bySource.get(source)?.account.removed(source, event);
  }

  cleared(source: KvEventSource, isNewProcess: boolean): void {
    this.#leftOut.delete(source);
    // A new process says its block size anew.
    if (isNewProcess) this.#forget(source);
    else this.#bySource.get(source)?.account.cleared(source, false);
  }

  uncertain(source: KvEventSource): void {
    this.#bySource.get(source)?.account.uncertain(source);
  }

  gone(source: KvEventSource): void {
    this.#leftOut.delete(source);
    this.#forget(source);
  }

  /** Sets every series; sources' ranks are added up. */
  render(registry: MetricRegistry): void {
    for (const metric of ENDPOINT_METRICS) registry.reset(metric);
    for (const endpoint of this.#sources.keys()) {
      const figures = this.#figures(endpoint);
      registry.set(METRIC.kvAccountEndpointBytes, { endpoint }, figures.byteLength);
      registry.set(METRIC.kvAccountHeldBlocks, { endpoint }, figures.heldBlocks);
      registry.set(METRIC.kvAccountLearnedBlocks, { endpoint }, figures.learnedBlocks);
      registry.set(METRIC.kvAccountKnownBlocks, { endpoint }, figures.knownBlocks);
    }
    const bytes = this.#accounts.reduce((sum, { account }) => sum + account.byteLength, 0);
    registry.set(METRIC.kvAccountBytes, {}, bytes + (this.#chains?.byteLength ?? 0));
    registry.set(METRIC.kvAccountContentBlocks, {}, this.contentBlocks);
    registry.set(METRIC.kvAccountLearnedTotal, {}, this.#learnedPrompts);
    for (const [reason, count] of Object.entries(this.#dropped())) {
      registry.set(METRIC.kvAccountDroppedTotal, { reason }, count);
    }
    const counts = Array.from(
      this.#bySource,
      ([source, { account }]) => account.figures(source)?.counts,
    );
    for (const [reason, count] of this.#unfollowed.sum(counts)) {
      registry.set(METRIC.kvAccountUnfollowedTotal, { reason }, count);
    }
  }

  /** What was let go or never taken up, by why. */
  #dropped(): Readonly<Record<string, number>> {
    const dropped = {
      "uneven-prompt": this.#unevenPrompts,
      event: this.#eventsLeftOut,
      "forgotten-content": 0,
      "forgotten-tokens": 0,
      "no-room": 0,
    };
    for (const { account } of this.#accounts) {
      const { forgottenContents, forgottenTokens, leftOut } = account.contentCounts;
      dropped.event += account.eventsLeftOut;
      dropped["forgotten-content"] += forgottenContents;
      dropped["forgotten-tokens"] += forgottenTokens;
      dropped["no-room"] += leftOut;
    }
    return dropped;
  }

  /**
   * A source's block size stays until it is a new process. One that was not noticed shows where there is one
   * cache, which holds nothing, and blocks are of another size; with several groups the sizes may be unlike.
   */
  #accountFor(source: KvEventSource, event: KvBlocksStored): SizedAccount | undefined {
    const current = this.#bySource.get(source);
    const { tier, blockSize, tokens } = event;
    const isTelling = tier === "gpu" && blockSize > 0 && tokens.length > 0;
    if (!isTelling || !isOfWholePrefix(event) || current?.blockSize === blockSize) return current;
    if (current !== undefined) {
      if (event.group !== null) return current;
      if ((current.account.figures(source)?.heldBlocks ?? 0) > 0) return current;
      this.#forget(source);
    }
    const sized = this.#ofSize(blockSize);
    if (sized === undefined) this.#leftOut.add(source);
    else this.#remember(source, sized);
    return sized;
  }

  #remember(source: KvEventSource, sized: SizedAccount): void {
    this.#bySource.set(source, sized);
    if (source.endpoint === null) return;
    const sources = this.#sources.get(source.endpoint) ?? new Set();
    this.#sources.set(source.endpoint, sources.add(source));
  }

  #forget(source: KvEventSource): void {
    const account = this.#bySource.get(source)?.account;
    if (account !== undefined) {
      this.#unfollowed.keep(account.figures(source)?.counts);
      account.gone(source);
    }
    this.#bySource.delete(source);
    if (source.endpoint === null) return;
    const sources = this.#sources.get(source.endpoint);
    sources?.delete(source);
    if (sources?.size === 0) this.#sources.delete(source.endpoint);
  }

  /** Its ranks added up. */
  #figures(endpoint: string): EndpointFigures {
    const sum = { heldBlocks: 0, learnedBlocks: 0, knownBlocks: 0, byteLength: 0 };
    for (const source of this.#sources.get(endpoint) ?? []) {
      const figures = this.#bySource.get(source)?.account.figures(source);
      if (figures === undefined) continue;
      sum.heldBlocks += figures.heldBlocks;
      sum.learnedBlocks += figures.learnedBlocks;
      sum.knownBlocks += figures.knownBlocks;
      sum.byteLength += figures.byteLength;
    }
    return sum;
  }

  #ofSize(blockSize: number): SizedAccount | undefined {
    const known = this.#accounts.find((each) => each.blockSize === blockSize);
    if (known !== undefined || this.#accounts.length === BLOCK_SIZES_MAX) return known;
    const base = this.#accounts.length * TOKEN_SLOTS_MAX;
    const account = new ResidencyAccount({
      held: (slot, low, high, holding) => this.#sink.held(base + slot, low, high, holding),
    });
    const sized = { blockSize, base, account };
    this.#accounts.push(sized);
    return sized;
  }
}

/** Whether it is of the only cache, or of a group whose blocks a prefix needs all of. */
function isOfWholePrefix({ group }: KvBlocksStored): boolean {
  return group === null || (group.kind !== null && WHOLE_PREFIX_KINDS.has(group.kind));
}

/** Keys two words each: the nth, the 2nth and so on. */
function everyNth(keys: Uint32Array, n: number): Uint32Array {
  if (n === 1) return keys;
  const picked = new Uint32Array(2 * Math.floor(keys.length / 2 / n));
  for (let i = 0; i < picked.length; i += 2) {
    const at = (i / 2 + 1) * n * 2 - 2;
    picked[i] = keys[at]!;
    picked[i + 1] = keys[at + 1]!;
  }
  return picked;
}
