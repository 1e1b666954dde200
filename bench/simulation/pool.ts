// What a pool's object knows and how it comes to know it, with the scheduler's own classes.
//
//   choose ──► open: load is charged at once
//   dispatched ──► the prefix is learned, as from a relay's `opened`
//   finished, shed ──► load is taken off; a prefix that was not computed is forgotten
//   sampled ──► the engine's numbers replace estimates
//
// Mirrors src/durable/{picks,endpoints}.ts and src/durable/tickets/ledger.ts, without leases and storage.

import { ApproximatePrefix } from "../../src/scheduler/kv/approximate-prefix.ts";
import { CONTENT_BLOCK_TOKENS } from "../../src/scheduler/kv/content-keys.ts";
import { PrefixTree } from "../../src/scheduler/kv/prefix-tree.ts";
import {
  type Dispatched,
  type EndpointSample,
  EndpointTable,
  ENDPOINTS_MAX,
  type PromptWork,
} from "../../src/scheduler/model/endpoint-table.ts";
import { reservedOutputTokens } from "../../src/scheduler/model/inference-request.ts";
import type { PrefixSources } from "../../src/scheduler/plugin.ts";
import { ROLE_LABEL } from "../../src/scheduler/roles.ts";
import type { Finished, Prefilled, RoutedRequest } from "./policy.ts";

/** A sample older than this is stale: three scrapes missed, and a second to get here. */
const STALE_AFTER_SCRAPES = 3;
const ONE_WAY_MS = 1_000;

interface Ticket {
  slot: number;
  readonly reservedTokens: number;
  readonly prompt: PromptWork;
  dispatched: Dispatched;
  /** Blocks held before this request; undefined until the prefix was learned. */
  heldBefore: number | undefined;
  readonly prefill: PrefillTicket | undefined;
}

/** A prompt that another endpoint computes. */
interface PrefillTicket {
  readonly slot: number;
  readonly uncachedTokens: number;
  readonly dispatched: Dispatched;
  tookMs: number | undefined;
}

/** What was decided of a request. */
export interface Chosen {
  readonly slot: number;
  /** Blocks of the request that `slot` holds. */
  readonly matchedBlocks: number;
  /** Where its prompt is computed, and what of it is there; undefined: at `slot`. */
  readonly prefill?: { readonly slot: number; readonly matchedBlocks: number };
}

export class Pool {
  readonly table = new EndpointTable();
  readonly tree = new PrefixTree();
  readonly prefixSources: PrefixSources = {
    approximate: (keys, matchedBlocks) => this.tree.match(keys, matchedBlocks),
  };
  readonly staleAfterMs: number;
  readonly #prefix = new ApproximatePrefix(this.tree, ENDPOINTS_MAX);
  readonly #tickets = new Map<RoutedRequest, Ticket>();

  /** `roles`: of each endpoint, as its label says. */
  constructor(endpointCount: number, scrapeIntervalMs: number, roles: readonly string[] = []) {
    this.staleAfterMs = STALE_AFTER_SCRAPES * scrapeIntervalMs + ONE_WAY_MS;
    for (let i = 0; i < endpointCount; i++) {
      const role = roles[i];
      const labels = role === undefined ? {} : { [ROLE_LABEL]: role };
      this.table.add({ id: `sim/${i}`, address: `sim-${i}:8000`, engine: "vllm", labels });
    }
  }

  /** A request is on its way. */
  open(request: RoutedRequest, { slot, matchedBlocks, prefill }: Chosen, nowMs: number): void {
    const { promptTokens, outputTokensMax } = request.inference;
    const uncached = uncachedOf(promptTokens, matchedBlocks);
    const reservedTokens = uncached + reservedOutputTokens(outputTokensMax);
    const prompt = { promptTokens, uncachedTokens: prefill === undefined ? uncached : 0 };
    const dispatched = this.table.dispatched(slot, reservedTokens, nowMs, prompt);
    const ticket = { slot, reservedTokens, prompt, dispatched, heldBefore: undefined };
    this.#tickets.set(request, {
      ...ticket,
      prefill: prefill && this.#openPrefill(promptTokens, prefill, nowMs),
    });
  }

  #openPrefill(
    promptTokens: number,
    { slot, matchedBlocks }: NonNullable<Chosen["prefill"]>,
    nowMs: number,
  ): PrefillTicket {
    const uncachedTokens = uncachedOf(promptTokens, matchedBlocks);
    const prompt = { promptTokens, uncachedTokens };
    const dispatched = this.table.dispatched(slot, uncachedTokens, nowMs, prompt);
    return { slot, uncachedTokens, dispatched, tookMs: undefined };
  }

  /** Where a request's prompt is computed apart. */
  prefillSlot(request: RoutedRequest): number | undefined {
    return this.#tickets.get(request)?.prefill?.slot;
  }

  prefilled(request: RoutedRequest, slot: number, how: Prefilled): void {
    const ticket = this.#tickets.get(request);
    if (ticket?.prefill === undefined) return;
    const { dispatched, uncachedTokens } = ticket.prefill;
    const { durationMs, promptTokens, cachedTokens } = how;
    ticket.prefill.tookMs = durationMs;
    this.table.completed(slot, {
      ttftMs: durationMs,
      decodeMs: null,
      workTokens: dispatched.aheadTokens + promptTokens - cachedTokens,
      isHeld: dispatched.isHeld,
    });
    this.table.released(slot, uncachedTokens, dispatched.atMs);
    const capacityTokens = this.table.columns.kvCapacityTokens[slot]!;
    this.#prefix.learn(request.inference.keys, slot, capacityTokens);
  }

  dispatched(request: RoutedRequest, slot: number, nowMs: number): void {
    const ticket = this.#tickets.get(request)!;
    if (ticket.slot !== slot) {
      const { reservedTokens, prompt } = ticket;
      this.table.released(ticket.slot, reservedTokens, ticket.dispatched.atMs);
      this.table.takenBack(ticket.slot, prompt.uncachedTokens, nowMs);
      ticket.slot = slot;
      ticket.dispatched = this.table.dispatched(slot, reservedTokens, nowMs, prompt);
    }
    const capacityTokens = this.table.columns.kvCapacityTokens[slot]!;
    ticket.heldBefore = this.#prefix.learn(request.inference.keys, slot, capacityTokens);
  }

  /** What `slot` holds from now on is the prompt too, whoever sent it there. */
  learn({ inference }: RoutedRequest, slot: number): void {
    this.#prefix.learn(inference.keys, slot, this.table.columns.kvCapacityTokens[slot]!);
  }

  finished(request: RoutedRequest, how: Finished): void {
    const { slot, reservedTokens, dispatched, prefill } = this.#take(request);
    const { ttftMs, durationMs, promptTokens, cachedTokens } = how;
    if (prefill?.tookMs !== undefined && !dispatched.isHeld) {
      const transferMs = ttftMs - prefill.tookMs;
      this.table.handedOver(slot, { transferMs, tokens: prefill.uncachedTokens });
    }
    this.table.completed(slot, {
      // With another endpoint's prefill in it, it says nothing of this one's.
      ttftMs: prefill === undefined ? ttftMs : null,
      decodeMs: durationMs - ttftMs,
      workTokens: dispatched.aheadTokens + promptTokens - cachedTokens,
      isHeld: dispatched.isHeld,
    });
    this.table.released(slot, reservedTokens, dispatched.atMs);
  }

  /** No engine took it. */
  shed(request: RoutedRequest): void {
    const { slot, reservedTokens, dispatched, heldBefore } = this.#take(request);
    this.table.released(slot, reservedTokens, dispatched.atMs);
    if (heldBefore !== undefined) this.#prefix.unlearn(request.inference.keys, slot, heldBefore);
  }

  sampled(slot: number, sample: EndpointSample, sampledAtMs: number): void {
    this.table.applySample(slot, sample, sampledAtMs);
  }

  #take(request: RoutedRequest): Ticket {
    const ticket = this.#tickets.get(request)!;
    this.#tickets.delete(request);
    return ticket;
  }
}

function uncachedOf(promptTokens: number, matchedBlocks: number): number {
  return Math.max(0, promptTokens - matchedBlocks * CONTENT_BLOCK_TOKENS);
}
