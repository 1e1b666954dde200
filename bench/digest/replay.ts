// Requests in their order, and pools whose caches they leave something in.
//
// A request goes to the pool and to the endpoint that hold the most of it, and one in five wherever there
// is room: so pools hold different things, and more than one holds a part of the same. What is served does
// not depend on the digest that is measured: all are measured on the same caches.

import { PrefixTree } from "../../src/scheduler/kv/prefix-tree.ts";
import { createRng, type Rng } from "../../src/scheduler/support/rng.ts";
import { contentKeys } from "../simulation/content-keys.ts";
import type { Workload } from "../simulation/workload.ts";
import { TraceRequests } from "../simulation/workloads/mooncake-trace.ts";
import { conversationTrace } from "../simulation/workloads/packed-trace.ts";
import { conversationWorkload, INTERACTIVE_CHAT } from "../simulation/workloads/conversations.ts";

export const POOLS = 3;
const ENDPOINTS = 8;
/** Share of requests that are served where there is room, whatever is cached. */
const ELSEWHERE_SHARE = 0.2;
/** Of an answer's token, where the next turn waits for it. */
const MS_PER_TOKEN = 20;

export interface ReplayedRequest {
  readonly atMs: number;
  readonly keys: Uint32Array;
}

/** Mooncake's conversation trace, so many times as fast as it was recorded. */
export function traceRequests(speed: number): ReplayedRequest[] {
  const requests = new TraceRequests();
  return conversationTrace().map((line) => ({
    atMs: line.timestamp / speed,
    keys: contentKeys(requests.of(line)),
  }));
}

/** Conversations that share a system prompt: each turn repeats all that was said before. */
export function chatRequests(rate: number, count: number): ReplayedRequest[] {
  const requests = CHAT.create(rate, 1).flatMap(({ sessions }) =>
    sessions.flatMap(({ startMs, turns }) => {
      let atMs = startMs;
      return turns.map(({ request, delayMs }) => {
        const sentAtMs = atMs + delayMs;
        atMs = sentAtMs + request.outputTokens * MS_PER_TOKEN;
        return { atMs: sentAtMs, keys: contentKeys(request) };
      });
    }),
  );
  return requests.toSorted((a, b) => a.atMs - b.atMs).slice(0, count);
}

const about: Omit<Workload, "create"> = {
  name: "chat",
  about: "Turns of conversations behind one system prompt.",
  slo: { ttftMs: 1_000, tpotMs: 50 },
  saturationRate: 1,
};
/** Lengths and pauses of llm-d's interactive-chat, as in bench/simulation/workloads.ts. */
const CHAT = conversationWorkload(about, {
  ...INTERACTIVE_CHAT,
  requests: 14_000,
  warmUpShare: 0,
});

/** A pool's caches, as its object believes them to be. */
export class ReplayedPool {
  readonly tree: PrefixTree;
  readonly #matched: Int32Array;
  readonly #rng: Rng;

  /** Blocks of one endpoint. */
  constructor(blocksMax: number, seed: number, endpoints = ENDPOINTS) {
    this.#matched = new Int32Array(endpoints);
    this.tree = new PrefixTree({ slotsMax: endpoints });
    this.#rng = createRng(seed);
    for (let slot = 0; slot < endpoints; slot++) this.tree.setCapacity(slot, blocksMax);
  }

  /** Blocks that the best endpoint holds. */
  matchedBlocks(keys: Uint32Array): number {
    this.tree.match(keys, this.#matched);
    return Math.max(...this.#matched);
  }

  /** Blocks that each endpoint holds; valid until the next call. */
  heldBy(keys: Uint32Array): Int32Array {
    this.tree.match(keys, this.#matched);
    return this.#matched;
  }

  serve(keys: Uint32Array): void {
    const isElsewhere = this.#rng() < ELSEWHERE_SHARE || this.matchedBlocks(keys) === 0;
    const slot = isElsewhere
      ? Math.floor(this.#rng() * this.#matched.length)
      : this.#matched.indexOf(Math.max(...this.#matched));
    this.tree.insert(keys, slot);
  }
}

export class Replay {
  readonly pools: readonly ReplayedPool[];
  readonly #rng = createRng(1);

  constructor(blocksMax: number) {
    this.pools = Array.from({ length: POOLS }, (_, i) => new ReplayedPool(blocksMax, i + 10));
  }

  /** Blocks of the prompt that each pool holds. */
  held(keys: Uint32Array): number[] {
    return this.pools.map((pool) => pool.matchedBlocks(keys));
  }

  serve({ keys }: ReplayedRequest): void {
    const held = this.held(keys);
    const most = Math.max(...held);
    const isElsewhere = this.#rng() < ELSEWHERE_SHARE || most === 0;
    const pool = isElsewhere ? Math.floor(this.#rng() * POOLS) : held.indexOf(most);
    this.pools[pool]!.serve(keys);
  }
}
