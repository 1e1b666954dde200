// no-hit-lru-scorer: spread prompts that nobody has cached over the endpoints that received such a
// prompt least recently, so that caches grow evenly.
//
//   some candidate holds a block of the prompt:  0.5 for all
//   cold prompt, one candidate:                  1
//   cold prompt, n candidates, rank r:           1 - r / (n - 1)
//
// Ranks: endpoints never given a cold prompt first, in slot order, then the others, oldest first. A
// request that was cold makes its endpoint the newest, and that of a profile named `prefill`, too.
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/nohitlru. A block that anybody holds,
// if only of a system prompt that all requests share, makes it say 0.5 of everybody: it does nothing
// then. It counts prompts and not their length: one long cold prompt weighs as much as a short one.
// What it remembers is lost with the object and rebuilt by the next cold prompts. O(n), no allocation.

import { z } from "zod";
import { producerOf } from "../../data/data.ts";
import { ENDPOINTS_MAX } from "../../model/endpoint-table.ts";
import { defineScorer, type PickContext, type Scorer } from "../../plugin.ts";

const params = z.strictObject({
  lruSize: z
    .int()
    .min(1)
    .default(1024)
    .describe(`Endpoints whose last cold prompt is remembered, up to ${ENDPOINTS_MAX}`),
  prefixMatchInfoProducerName: z.string().default("").describe("Who tells what is cached where"),
  prefixPluginType: z.string().optional().describe("Deprecated: as prefixPluginName"),
  prefixPluginName: z
    .string()
    .optional()
    .describe("Deprecated: the producer, where prefixMatchInfoProducerName is not given"),
});

/** In configurations of that time, the scorer also kept the index. */
const LEGACY_SCORER = "prefix-cache-scorer";

function producerNameOf(given: z.output<typeof params>): string {
  const legacy = given.prefixPluginName ?? given.prefixPluginType ?? "";
  return given.prefixMatchInfoProducerName || (legacy === LEGACY_SCORER ? "" : legacy);
}

/** Both ends of the list of used slots. */
const ENDS = ENDPOINTS_MAX;
/** llm-d's name for the profile of the prefill stage. */
const PREFILL_PROFILE = "prefill";
/** Neighbour of a slot that is not in the list. */
const UNUSED = -1;

/**
 * Used slots form a list through two arrays, ordered by their last cold prompt:
 *
 *   ENDS -newer-> oldest -newer-> … -newer-> newest -newer-> ENDS
 */
class NoHitLruScorer implements Scorer {
  readonly #lruSize: number;
  readonly #producer: string;
  readonly #newer = new Int32Array(ENDPOINTS_MAX + 1).fill(UNUSED);
  readonly #older = new Int32Array(ENDPOINTS_MAX + 1).fill(UNUSED);
  #used = 0;
  /** The request that was last found cold, by those that were candidates when it was scored. */
  #coldRequestId: string | undefined;
  /** Scratch: by slot, its index among the candidates, or -1. */
  readonly #indexOf = new Int32Array(ENDPOINTS_MAX);

  constructor(lruSize: number, producer: string) {
    this.#lruSize = Math.min(lruSize, ENDPOINTS_MAX);
    this.#producer = producer;
    this.#newer[ENDS] = ENDS;
    this.#older[ENDS] = ENDS;
  }

  score(context: PickContext, out: Float64Array): void {
    const { candidates, candidateCount: count } = context;
    const isCold = this.#isCold(context);
    this.#coldRequestId = isCold ? context.request.requestId : undefined;
    if (!isCold) {
      out.fill(0.5, 0, count);
      return;
    }
    const last = Math.max(1, count - 1);
    let rank = 0;
    this.#indexOf.fill(-1);
    for (let i = 0; i < count; i++) {
      const slot = candidates[i]!;
      if (this.#newer[slot] === UNUSED) out[i] = 1 - rank++ / last;
      else this.#indexOf[slot] = i;
    }
    for (let slot = this.#newer[ENDS]!; rank < count; slot = this.#newer[slot]!) {
      const index = this.#indexOf[slot]!;
      if (index >= 0) out[index] = 1 - rank++ / last;
    }
  }

  onPicked(context: PickContext, slot: number): void {
    if (this.#coldRequestId !== context.request.requestId) return;
    this.#use(slot);
    const prefill = context.results.slotOf(PREFILL_PROFILE) ?? -1;
    if (prefill >= 0) this.#use(prefill);
  }

  onEndpointRemoved(slot: number): void {
    this.#remove(slot);
  }

  /** An empty cache has the most room: as if it never was given a cold prompt. */
  onEndpointRestarted(slot: number): void {
    this.#remove(slot);
  }

  /** True when no candidate holds the first block: the prompt is cold for all of them. */
  #isCold({ data, candidates, candidateCount }: PickContext): boolean {
    const match = data.get("prefix-match", this.#producer);
    if (match === undefined || match.totalBlocks === 0) return true;
    for (let i = 0; i < candidateCount; i++) {
      if (match.matchedBlocks[candidates[i]!]! > 0) return false;
    }
    return true;
  }

  #use(slot: number): void {
    this.#remove(slot);
    const newest = this.#older[ENDS]!;
    this.#link(newest, slot);
    this.#link(slot, ENDS);
    this.#used++;
    if (this.#used > this.#lruSize) this.#remove(this.#newer[ENDS]!);
  }

  #remove(slot: number): void {
    if (this.#newer[slot] === UNUSED) return;
    this.#link(this.#older[slot]!, this.#newer[slot]!);
    this.#newer[slot] = UNUSED;
    this.#older[slot] = UNUSED;
    this.#used--;
  }

  #link(older: number, newer: number): void {
    this.#newer[older] = newer;
    this.#older[newer] = older;
  }
}

export const noHitLruScorer = defineScorer({
  type: "no-hit-lru-scorer",
  ranksByLoad: true,
  params,
  consumes: (given) => [{ key: "prefix-match", producer: producerNameOf(given) }],
  notes: ({ prefixPluginName, prefixPluginType }) =>
    prefixPluginName === undefined && prefixPluginType === undefined
      ? []
      : ["prefixPluginType and prefixPluginName are deprecated: use prefixMatchInfoProducerName."],
  needsObject: () => "remembers where the pool's cold prompts went",
  create: (given) =>
    new NoHitLruScorer(given.lruSize, producerOf("prefix-match", producerNameOf(given))),
});
