// Body fields with which an engine is steered. They are ours to set, never a client's: with them a
// client could read another's KV blocks, choose a rank, jump a queue or take over a request id.

import { type Checked, refuse } from "./errors.ts";

/** Refused at the top level, where engines read them. Sources: vLLM, SGLang, llm-d's sidecar. */
export const ENGINE_CONTROLS = [
  "kv_transfer_params",
  "ec_transfer_params",
  "bootstrap_host",
  "bootstrap_port",
  "bootstrap_room",
  "data_parallel_rank",
  "routed_dp_rank",
  "disagg_prefill_dp_rank",
  "cache_hit_threshold",
  "priority",
  "request_id",
  "rid",
  "extra_key",
  "vllm_xargs",
] as const;

/** Refuses a body that carries an engine control, whatever its value: also null. */
export function checkEngineControls(keys: { has(key: string): boolean }): Checked<null> {
  const found = ENGINE_CONTROLS.find((name) => keys.has(name));
  if (found === undefined) return { ok: true, value: null };
  return refuse(
    "unsupported_parameter",
    `\`${found}\` controls the engine and is set by the router only. Leave it out.`,
    found,
  );
}
