// precise-prefix-cache-scorer: prefer endpoints that hold more of the prompt, as their engines' events
// say.
//
//   as prefix-cache-scorer, of what the instance named precise-prefix-cache-producer tells; where there
//   is none, of what this plugin's own index tells under its own name
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/scorer/preciseprefixcache, which llm-d keeps
// for configurations that are older than data producers. See precise-prefix-cache-producer for what is
// told, and prefix-cache-scorer for the formula. O(n), no allocation.

import { z } from "zod";
import { definePlugin, type DataProducer, type PickContext, type Scorer } from "../../plugin.ts";
import {
  PreciseMatcher,
  type PreciseParams,
  preciseNotes,
  preciseParamsShape,
} from "../data-producer/precise-prefix-cache-producer.ts";
import { matchValueParams, scoreMatches } from "./prefix-cache-scorer.ts";

const PRODUCER = "precise-prefix-cache-producer";

const params = z.strictObject({ ...preciseParamsShape, ...matchValueParams });

class PrecisePrefixCacheScorer extends PreciseMatcher implements Scorer, DataProducer {
  readonly #value: z.output<typeof params>;

  constructor(given: PreciseParams & z.output<typeof params>) {
    super(given);
    this.#value = given;
  }

  override produce(context: PickContext): void {
    if (context.data.get("prefix-match", PRODUCER) === undefined) super.produce(context);
  }

  score(context: PickContext, out: Float64Array): void {
    const theirs = context.data.get("prefix-match", PRODUCER);
    scoreMatches(context, theirs ?? this.data["prefix-match"], this.#value, out);
  }
}

export const precisePrefixCacheScorer = definePlugin({
  type: "precise-prefix-cache-scorer",
  kinds: ["scorer", "data-producer"],
  ranksByLoad: true,
  deprecated: `Use prefix-cache-scorer with prefixMatchInfoProducerName: ${PRODUCER}.`,
  produces: ["prefix-match"],
  params,
  consumes: () => [{ key: "prefix-match", producer: PRODUCER, isOptional: true }],
  notes: preciseNotes,
  create: (given) => new PrecisePrefixCacheScorer(given),
});
