// What an endpoint does of the work on a request: encoding of media, prefill, decode.

import { labelsOf } from "./candidates.ts";
import { labelOf } from "./labels.ts";
import type { PickContext } from "./plugin.ts";

export const ROLE_LABEL = "llm-d.ai/role";

export type Stage = "encode" | "prefill" | "decode";

const STAGES: Readonly<Record<string, readonly Stage[]>> = {
  encode: ["encode"],
  prefill: ["prefill"],
  decode: ["decode"],
  "encode-prefill": ["encode", "prefill"],
  "encode-decode": ["encode", "decode"],
  "prefill-decode": ["prefill", "decode"],
  "encode-prefill-decode": ["encode", "prefill", "decode"],
  // Older than the names of pairs.
  both: ["prefill", "decode"],
};

/**
 * Whether `slot`'s endpoint does `stage`, by its label. Without a label an endpoint is an engine of
 * the plain kind: it decodes, and is sent no stage alone. Any other value does nothing.
 */
export function hasRole(context: Pick<PickContext, "pool">, slot: number, stage: Stage): boolean {
  const role = labelOf(labelsOf(context, slot), ROLE_LABEL);
  if (role === undefined) return stage === "decode";
  return Object.hasOwn(STAGES, role) && STAGES[role]!.includes(stage);
}
