// Flags of an engine that shares work on a prompt with others. Named as SGLang's server arguments and
// llm-d-inference-sim's, where they have one: --disaggregation-*, --kv-cache-transfer-*,
// --global-cache-hit-threshold, --mm-encoder-only. vLLM has these in --kv-transfer-config and in its
// environment: kv_role, kv_load_failure_policy, kv_lease_duration, VLLM_NIXL_SIDE_CHANNEL_PORT.

import { choiceFlag, numberFlag, type Flag } from "../../process/flags.ts";
import { durationFlag } from "../duration-flag.ts";

const BYTES_MAX = 1_073_741_824;

export const DISAGGREGATION_FLAGS = {
  role: choiceFlag(
    ["both", "prefill", "decode", "encode"],
    "what of a request the engine does; vLLM's kv_producer is prefill, its kv_consumer decode",
    "both",
  ),
  "side-channel-port": port("where decoders read blocks; 0 for any free one"),
  "kv-lease-duration": durationFlag("how long blocks are held for a decoder", 30_000),
  "kv-load-failure-policy": choiceFlag(
    ["fail", "recompute"],
    "what a decoder does that cannot read a prompt's blocks",
    "fail",
  ),
  "kv-cache-transfer-latency": durationFlag("time a transfer takes besides its tokens", 2),
  "kv-cache-transfer-time-per-token": durationFlag(
    "time of a token; 0: of --kv-bytes-per-token at --kv-transfer-bandwidth",
    0,
  ),
  "kv-bytes-per-token": numberFlag(
    "size of a token in the KV cache",
    { min: 1, max: BYTES_MAX, isInteger: true },
    131_072,
  ),
  "kv-transfer-bandwidth": numberFlag(
    "of the link on which an engine reads blocks, in GB/s",
    { min: 0.001, max: 100_000, isInteger: false },
    40,
  ),
  "kv-handshake-latency": durationFlag("time of the first contact with another engine", 0),

  "disaggregation-mode": choiceFlag(
    ["null", "prefill", "decode"],
    "be an SGLang engine of one stage, whose legs meet in a bootstrap room",
    "null",
  ),
  "disaggregation-bootstrap-port": port(
    "where SGLang's and Mooncake's legs meet; 0 for none, or 8998 with --disaggregation-mode prefill",
  ),
  "disaggregation-bootstrap-timeout": durationFlag(
    "how long a prefiller waits for its decoder",
    300_000,
  ),
  "disaggregation-waiting-timeout": durationFlag(
    "how long a decoder waits for its prompt",
    300_000,
  ),

  "global-cache-hit-threshold": numberFlag(
    "share of a prompt that must be cached where a request says nothing of it; 0 for none",
    { min: 0, max: 1, isInteger: false },
    0,
  ),
} as const;

function port(help: string): Flag<number> {
  return numberFlag(help, { min: 0, max: 65_535, isInteger: true }, 0);
}
