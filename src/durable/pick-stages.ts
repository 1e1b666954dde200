// Who else than the endpoint that answers has a part in a request: for its relay, and for the ledger.

import { STAGE_HEADERS } from "../agents/protocol/headers.ts";
import type { Picked } from "../scheduler/endpoint-picker.ts";
import { CONTENT_BLOCK_TOKENS } from "../scheduler/kv/content-keys.ts";
import type { EndpointDirectory } from "../scheduler/plugin.ts";
import type { PrefillSpec } from "./tickets/prefills.ts";

/** A relay asks one more where the first fails, and then has the prompt computed where it is decoded. */
export const PREFILLERS_MAX = 2;

type Stage = (typeof STAGE_HEADERS)[number];

/** A value for each of STAGE_HEADERS, in their order; undefined where all would be empty. */
export function stagesOf(picked: Picked, pool: EndpointDirectory): readonly string[] | undefined {
  const { slots, encode, kvSource, dataParallelPort } = picked;
  const addresses = (of: Iterable<number>) =>
    Array.from(of, (slot) => pool.endpoint(slot)?.address ?? "")
      .filter((address) => address !== "")
      .join(",");
  const values: Readonly<Record<Stage, string>> = {
    "x-prefiller-host-port": addresses(prefillersOf(picked)),
    "x-encoder-hosts-ports": addresses(encode ?? []),
    "x-data-parallel-host-port": dataParallelPort === undefined ? "" : addresses([slots[0]!]),
    "x-kv-cache-source-host-port": kvSource === undefined ? "" : addresses([kvSource]),
  };
  const stages = STAGE_HEADERS.map((name) => values[name]);
  return stages.some((value) => value !== "") ? stages : undefined;
}

/** Undefined where the endpoint that answers computes the prompt. */
export function prefillOf(picked: Picked, promptTokens: number): PrefillSpec | undefined {
  const prefillers = prefillersOf(picked);
  const [slot] = prefillers;
  if (slot === undefined) return undefined;
  const cachedTokens = (picked.prefillMatchedBlocks ?? 0) * CONTENT_BLOCK_TOKENS;
  const uncachedTokens = Math.max(0, promptTokens - cachedTokens);
  return { slot, tries: prefillers.length, uncachedTokens };
}

/** What became of a request that may be split, in llm-d's words. Closed set; a metric label. */
export function disaggregationOf({ prefill, encode }: Pick<Picked, "prefill" | "encode">) {
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
