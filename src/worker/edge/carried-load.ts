// A request's load in an isolate's replica: counted as the object's ledger will count it, whoever has decided.
//
//   one endpoint      carries all of it
//   prefill apart     that endpoint has the prompt's work, the one that answers the memory of prompt and output

import type { PickGrant, PickRequest } from "../../durable/contract.ts";
import type { PoolReplica } from "../../scheduler/edge/pool-replica.ts";
import { CONTENT_BLOCK_TOKENS } from "../../scheduler/kv/content-keys.ts";
import { reservedOutputTokens } from "../../scheduler/model/inference-request.ts";

type Request = PickRequest["request"];

/** Who carries a request, as it was picked. */
export interface CarriedLoad {
  /** Who answers. */
  readonly slot: number;
  /** Of the prompt, what is not cached there. */
  readonly uncachedTokens: number;
  /** The same, and output. */
  readonly reservedTokens: number;
  /** Who computes the prompt, where another one does. `slot`: undefined where the replica does not show it. */
  readonly prefill?:
    | { readonly slot: number | undefined; readonly uncachedTokens: number }
    | undefined;
}

/** Counts it until a snapshot shows it. Gives the number of the part that ends with the answer. */
export function countLoad(
  replica: PoolReplica,
  { promptTokens }: Request,
  { slot, uncachedTokens, reservedTokens, prefill }: CarriedLoad,
  nowMs: number,
): number {
  if (prefill === undefined)
    return replica.dispatched(slot, reservedTokens, nowMs, { promptTokens, uncachedTokens });
  if (prefill.slot !== undefined) {
    const prompt = { promptTokens, uncachedTokens: prefill.uncachedTokens };
    replica.dispatched(prefill.slot, prefill.uncachedTokens, nowMs, prompt);
  }
  return replica.dispatched(slot, reservedTokens, nowMs, NO_PROMPT);
}

/** Whoever carries it has its prompt. */
export function learnPrompt(
  replica: PoolReplica,
  { keys }: Request,
  { slot, prefill }: CarriedLoad,
  nowMs: number,
): void {
  replica.learn(keys, slot, nowMs);
  if (prefill?.slot !== undefined) replica.learn(keys, prefill.slot, nowMs);
}

/** Of what the object has granted; undefined where the replica does not show who answers. */
export function grantedLoad(
  replica: PoolReplica,
  { keys, promptTokens, outputTokensMax }: Request,
  { endpoints, stages }: Pick<PickGrant, "endpoints" | "stages">,
  nowMs: number,
): CarriedLoad | undefined {
  const slot = replica.slotOfAddress(endpoints[0] ?? "");
  if (slot === undefined) return undefined;
  const uncachedAt = (at: number) =>
    Math.max(0, promptTokens - replica.knownBlocks(keys, at, nowMs) * CONTENT_BLOCK_TOKENS);
  const uncachedTokens = uncachedAt(slot);
  const reservedTokens = uncachedTokens + reservedOutputTokens(outputTokensMax);
  const [prefiller = ""] = stages?.[0]?.split(",") ?? [];
  if (prefiller === "") return { slot, uncachedTokens, reservedTokens };
  const other = replica.slotOfAddress(prefiller);
  const prefill = { slot: other, uncachedTokens: other === undefined ? 0 : uncachedAt(other) };
  return { slot, uncachedTokens, reservedTokens, prefill };
}

const NO_PROMPT = { promptTokens: 0, uncachedTokens: 0 };
