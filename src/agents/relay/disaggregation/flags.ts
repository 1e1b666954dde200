// Flags of a relay about splitting requests. Those that llm-d's routing sidecar has are named as there.

import { choiceFlag, type FlagValues, numberFlag, switchFlag } from "../../process/flags.ts";
import { type ConnectorChoice, ConnectorTable } from "./connector-table.ts";
import { CONNECTOR_NAMES } from "./connector.ts";
import { ENCODE_CONNECTOR_NAMES, type EncodeConnectorName } from "./connectors/encode.ts";
import { CONNECTOR_DEFAULTS } from "./connectors/peers.ts";
import { PREFILL_POLICY, type PrefillPolicy } from "./split-request.ts";

const PORT = { min: 1, max: 65_535, isInteger: true };
const CHOICES: readonly ConnectorChoice[] = ["auto", ...CONNECTOR_NAMES];

export const DISAGGREGATION_FLAGS = {
  "kv-connector": choiceFlag(
    CHOICES,
    "how engines hand KV caches over; auto: by the label fairlead/kv-connector,\n" +
      "else nixlv2 for vLLM and sglang for SGLang",
    "auto",
  ),
  "ec-connector": choiceFlag(
    ["none", ...ENCODE_CONNECTOR_NAMES],
    "how engines share what encoders make of images, audio and video",
    "none",
  ),
  "decode-chunk-size": numberFlag(
    "most tokens of one request to a decoder, of chats that can be continued;\n0: no limit",
    { min: 0, max: 1_048_576, isInteger: true },
    0,
  ),
  "prefill-max-retries": numberFlag(
    "further prefillers asked when one fails; then the decoder computes",
    { min: 0, max: 7, isInteger: true },
    PREFILL_POLICY.retriesMax,
  ),
  "prefill-timeout-ms": numberFlag(
    "how long encoding and prefill may take together before a decoder is asked",
    { min: 100, max: 600_000, isInteger: true },
    PREFILL_POLICY.timeoutMs,
  ),
  "pair-timeout-ms": numberFlag(
    "how long a prefill may take that runs beside its decode, queues included",
    { min: 100, max: 3_600_000, isInteger: true },
    PREFILL_POLICY.pairTimeoutMs,
  ),
  "on-prefill-error": choiceFlag(
    ["decode", "return"],
    "after a 5xx but 502, 503, 504: the decoder computes, or the client gets it",
    PREFILL_POLICY.onEngineError,
  ),
  "sglang-bootstrap-port": numberFlag(
    "of SGLang's bootstrap server on prefillers' hosts",
    PORT,
    CONNECTOR_DEFAULTS.sglangBootstrapPort,
  ),
  "mooncake-bootstrap-port": numberFlag(
    "of Mooncake's bootstrap server on prefillers' hosts",
    PORT,
    CONNECTOR_DEFAULTS.mooncakeBootstrapPort,
  ),
  "p2p-connector-port": numberFlag(
    "of the P2P tier of rank 0 on each host",
    PORT,
    CONNECTOR_DEFAULTS.p2pConnectorPort,
  ),
  "enable-p2p-pull": switchFlag("vLLM runs OffloadingConnector beside NixlConnector"),
  "data-parallel-size": numberFlag(
    "ranks of each host, at ports that follow one another",
    { min: 1, max: 256, isInteger: true },
    CONNECTOR_DEFAULTS.dataParallelSize,
  ),
  "data-parallel-base-port": numberFlag(
    "of rank 0 on each host",
    PORT,
    CONNECTOR_DEFAULTS.dataParallelBasePort,
  ),
  "cache-hit-threshold": numberFlag(
    "least part of a prompt that a decoder of shared-storage must find to\n" +
      "begin without a prefill; 0: only what requests bring",
    { min: 0, max: 1, isInteger: false },
    0,
  ),
} as const;

export interface DisaggregationOptions {
  readonly connectors: ConnectorTable;
  readonly prefillPolicy: PrefillPolicy;
  readonly encodeConnector?: EncodeConnectorName;
  readonly decodeChunkTokens?: number;
}

export function disaggregationOptions(
  flags: FlagValues<typeof DISAGGREGATION_FLAGS>,
): DisaggregationOptions {
  const cacheHitThreshold = flags["cache-hit-threshold"];
  const encodeConnector = flags["ec-connector"];
  const decodeChunkTokens = flags["decode-chunk-size"];
  return {
    ...(encodeConnector === "none" ? {} : { encodeConnector }),
    ...(decodeChunkTokens === 0 ? {} : { decodeChunkTokens }),
    connectors: new ConnectorTable(flags["kv-connector"], {
      sglangBootstrapPort: flags["sglang-bootstrap-port"],
      mooncakeBootstrapPort: flags["mooncake-bootstrap-port"],
      p2pConnectorPort: flags["p2p-connector-port"],
      isP2pPullEnabled: flags["enable-p2p-pull"],
      dataParallelSize: flags["data-parallel-size"],
      dataParallelBasePort: flags["data-parallel-base-port"],
      ...(cacheHitThreshold === 0 ? {} : { cacheHitThreshold }),
    }),
    prefillPolicy: {
      retriesMax: flags["prefill-max-retries"],
      timeoutMs: flags["prefill-timeout-ms"],
      pairTimeoutMs: flags["pair-timeout-ms"],
      onEngineError: flags["on-prefill-error"],
    },
  };
}

/** What a relay does that was told nothing else. */
export function disaggregationDefaults(): DisaggregationOptions {
  return {
    connectors: new ConnectorTable("auto", CONNECTOR_DEFAULTS),
    prefillPolicy: PREFILL_POLICY,
  };
}
