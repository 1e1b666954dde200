// What data producers said, while a decision is taken again.
//
// A producer runs for real where all that it reads is on record. The pool's best prefix knowledge is:
// it is put in the place of whatever made it. What another producer remembered, or read from where a
// record has nothing, makes whoever reads it answer from the record.

import type { SchedulerConfig } from "../config/scheduler-config.ts";
import type { DataByKey, DataKey, PrefixMatch } from "../data/data.ts";
import { ENDPOINTS_MAX } from "../model/endpoint-table.ts";
import type { DataProducer, PickContext, PluginInstance } from "../plugin.ts";
import { prefixProducerOf } from "../plugins.ts";
import type { ReplayableAttempt } from "./replay-document.ts";
import type { UnknownReads } from "./unknown-reads.ts";

/** Of one attempt. */
export class RecordedData {
  readonly #unknown: UnknownReads;
  readonly #prefixProducer: string;
  readonly #matched = new Int32Array(ENDPOINTS_MAX);
  readonly #weighted = new Float64Array(ENDPOINTS_MAX);
  readonly #totalBlocks: number;
  readonly #isTiered: boolean;

  constructor(attempt: ReplayableAttempt, config: SchedulerConfig, unknown: UnknownReads) {
    this.#unknown = unknown;
    this.#prefixProducer = prefixProducerOf(config);
    this.#totalBlocks = attempt.totalBlocks;
    for (const { slot, matchedBlocks, weightedBlocks } of attempt.candidates) {
      this.#matched[slot] = matchedBlocks;
      this.#weighted[slot] = weightedBlocks;
    }
    this.#isTiered = attempt.candidates.some(
      ({ matchedBlocks, weightedBlocks }) => matchedBlocks !== weightedBlocks,
    );
  }

  /** Stands in the place of the producer of that name. */
  producer(name: string, plugin: PluginInstance): PluginInstance {
    const producer = plugin as DataProducer;
    const isPrefixProducer = name === this.#prefixProducer;
    const { "prefix-match": ownMatch, ...others } = producer.data;
    const match = ownMatch === undefined ? undefined : copyOf(ownMatch);
    let unknown =
      plugin.onPicked === undefined && (ownMatch === undefined || isPrefixProducer)
        ? undefined
        : `what ${name} knew`;
    const data: Partial<DataByKey> = {};
    // The real producer's own objects, but for the match, which it may have made anew.
    this.#guard(data, others, () => unknown);
    if (match !== undefined)
      this.#guard(data, { "prefix-match": match }, () => (isPrefixProducer ? undefined : unknown));
    return {
      data,
      produce: (context: PickContext) => {
        const { reads } = this.#unknown.during(() => producer.produce(context));
        unknown ??= reads;
        if (match === undefined || ownMatch === undefined) return;
        const isKnown = unknown === undefined && !this.#isTiered;
        match.totalBlocks = isKnown ? ownMatch.totalBlocks : this.#totalBlocks;
        match.matchedBlocks.set(isKnown ? ownMatch.matchedBlocks : this.#matched);
        match.weightedBlocks.set(isKnown ? ownMatch.weightedBlocks : this.#weighted);
      },
    };
  }

  /** Gives `data` the entries of `from`; reading one tells of `unknown`. */
  #guard(
    data: Partial<DataByKey>,
    from: Partial<DataByKey>,
    unknown: () => string | undefined,
  ): void {
    for (const key of Object.keys(from) as DataKey[]) {
      Object.defineProperty(data, key, {
        enumerable: true,
        get: () => {
          const what = unknown();
          if (what !== undefined) this.#unknown.read(what);
          return from[key];
        },
      });
    }
  }
}

function copyOf(match: PrefixMatch) {
  return {
    ...match,
    matchedBlocks: new Int32Array(ENDPOINTS_MAX),
    weightedBlocks: new Float64Array(ENDPOINTS_MAX),
    totalBlocks: 0,
  };
}
