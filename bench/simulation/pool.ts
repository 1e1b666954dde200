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
import type { Finished, RoutedRequest } from "./policy.ts";

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

  constructor(endpointCount: number, scrapeIntervalMs: number) {
    this.staleAfterMs = STALE_AFTER_SCRAPES * scrapeIntervalMs + ONE_WAY_MS;
    for (let i = 0; i < endpointCount; i++) {
      this.table.add({ id: `sim/${i}`, address: `sim-${i}:8000`, engine: "vllm", labels: {} });
    }
  }

  /** A request is on its way to `slot`, which holds the first `matchedBlocks` blocks of it. */
  open(request: RoutedRequest, slot: number, matchedBlocks: number, nowMs: number): void {
    const { promptTokens, outputTokensMax } = request.inference;
    const uncached = Math.max(0, promptTokens - matchedBlocks * CONTENT_BLOCK_TOKENS);
    const reservedTokens = uncached + reservedOutputTokens(outputTokensMax);
    const prompt = { promptTokens, uncachedTokens: uncached };
    const dispatched = this.table.dispatched(slot, reservedTokens, nowMs, prompt);
    const ticket = { slot, reservedTokens, prompt, dispatched, heldBefore: undefined };
    this.#tickets.set(request, ticket);
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

  finished(request: RoutedRequest, how: Finished): void {
    const { slot, reservedTokens, dispatched } = this.#take(request);
    const { ttftMs, durationMs, promptTokens, cachedTokens } = how;
    this.table.completed(slot, {
      ttftMs,
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
