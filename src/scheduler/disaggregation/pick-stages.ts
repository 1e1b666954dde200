// Who else than the endpoint that answers has a part in a request: for its relay, and for the ledger.

import type { Picked } from "../endpoint-picker.ts";
import { CONTENT_BLOCK_TOKENS } from "../kv/content-keys.ts";
import type { EndpointDirectory } from "../plugin.ts";

/** A relay asks one more where the first fails, and then has the prompt computed where it is decoded. */
export const PREFILLERS_MAX = 2;

/** A prefill that runs apart, of a pick. */
export interface PickedPrefill {
  /** The first that is asked. */
  readonly slot: number;
  /** How many may be asked, one after the other. */
  readonly tries: number;
  /** Of the prompt, what is not cached there. */
  readonly uncachedTokens: number;
}

/**
 * Addresses for each of the protocol's STAGE_HEADERS, in their order: who prefills, who encodes, the
 * data-parallel rank, whose blocks may be copied. Undefined where all would be empty.
 */
export function stagesOf(picked: Picked, pool: EndpointDirectory): readonly string[] | undefined {
  const { slots, prefill, encode, kvSource, dataParallelPort } = picked;
  const isSplit = prefill !== undefined || encode !== undefined;
  if (!isSplit && kvSource === undefined && dataParallelPort === undefined) return undefined;
  const addresses = (of: Iterable<number>) =>
    Array.from(of, (slot) => pool.endpoint(slot)?.address ?? "")
      .filter((address) => address !== "")
      .join(",");
  const stages = [
    addresses(prefillersOf(picked)),
    addresses(encode ?? []),
    dataParallelPort === undefined ? "" : addresses([slots[0]!]),
    kvSource === undefined ? "" : addresses([kvSource]),
  ];
  return stages.some((value) => value !== "") ? stages : undefined;
}

/** Undefined where the endpoint that answers computes the prompt. */
export function prefillOf(picked: Picked, promptTokens: number): PickedPrefill | undefined {
  const prefillers = prefillersOf(picked);
  const [slot] = prefillers;
  if (slot === undefined) return undefined;
  const cachedTokens = (picked.prefillMatchedBlocks ?? 0) * CONTENT_BLOCK_TOKENS;
  const uncachedTokens = Math.max(0, promptTokens - cachedTokens);
  return { slot, tries: prefillers.length, uncachedTokens };
}

/** Whether somebody else has these parts of a request; undefined: nobody. */
export interface Split {
  readonly prefill?: unknown;
  readonly encode?: unknown;
}

/** What became of a request that may be split, in llm-d's words. Closed set; a metric label. */
export function disaggregationOf({ prefill, encode }: Split) {
  if (prefill === undefined) return encode === undefined ? "decode-only" : "encode-decode";
  return encode === undefined ? "prefill-decode" : "encode-prefill-decode";
}

/** Slots in the order to ask them. */
function prefillersOf({ slots, prefill, prefillNext }: Picked): readonly number[] {
  if (prefill === undefined) return [];
  const next = prefillNext === undefined ? [] : [prefillNext];
  const all = new Set([...prefill, ...next]);
  // Nobody hands over to himself.
  all.delete(slots[0]!);
  return [...all].slice(0, PREFILLERS_MAX);
}
