// Simulated engines in groups: all alike, or prefill and decode apart, in a process each so that one can
// be lost without the other.

import { DISAGGREGATED_CONFIG } from "../../scheduler/config/disaggregated-config.ts";

/** How prompts are handed from prefillers to decoders; the relay's names. */
export const STAGE_CONNECTORS = ["nixlv2", "sglang", "mooncake"] as const;
export type StageConnector = (typeof STAGE_CONNECTORS)[number];

export interface Stages {
  readonly prefill: number;
  readonly decode: number;
  readonly connector: StageConnector;
}

/** Engines of one process. */
export interface EngineGroup {
  /** Of the endpoints, with a number behind it. */
  readonly name: "sim" | "prefill" | "decode";
  readonly count: number;
  /** Of the simulator. */
  readonly flags: Readonly<Record<string, string>>;
  /** Of each endpoint. */
  readonly labels: Readonly<Record<string, string>>;
}

const ROLE_LABEL = "llm-d.ai/role";
const CONNECTOR_LABEL = "fairlead/kv-connector";

export function engineGroups(
  source: { readonly count: number; readonly stages: Stages | undefined },
  bootstrapPort: number | undefined,
): EngineGroup[] {
  const { count, stages } = source;
  if (stages === undefined) return [{ name: "sim", count, flags: {}, labels: {} }];
  return (["prefill", "decode"] as const).map((name) => ({
    name,
    count: stages[name],
    flags: engineFlags(stages.connector, name, bootstrapPort),
    labels: { [ROLE_LABEL]: name, [CONNECTOR_LABEL]: stages.connector },
  }));
}

function engineFlags(
  connector: StageConnector,
  stage: "prefill" | "decode",
  bootstrapPort: number | undefined,
): Readonly<Record<string, string>> {
  const bootstrap =
    stage === "decode" || bootstrapPort === undefined
      ? {}
      : { "disaggregation-bootstrap-port": String(bootstrapPort) };
  // SGLang's engines have a mode for it, vLLM's a role.
  const mode = connector === "sglang" ? { "disaggregation-mode": stage } : { role: stage };
  return { ...mode, ...bootstrap };
}

/** Whether prefillers have a port besides at which they can be asked. */
export function hasBootstrap(connector: StageConnector): boolean {
  return connector !== "nixlv2";
}

/** Of a relay whose engines have that bootstrap port. */
export function relayFlags(bootstrapPort: number | undefined): Readonly<Record<string, string>> {
  if (bootstrapPort === undefined) return {};
  const port = String(bootstrapPort);
  return { "sglang-bootstrap-port": port, "mooncake-bootstrap-port": port };
}

/** What a pool does whose engines have stages. */
export function stagedScheduler(connector: StageConnector): unknown {
  // SGLang's engines of one stage serve nothing alone, so there is nothing to decide.
  return connector === "sglang" ? decidedBy("always-disagg-pd-decider") : DISAGGREGATED_CONFIG;
}

function decidedBy(decider: string): unknown {
  const plugins = DISAGGREGATED_CONFIG.plugins.map((plugin) => {
    if (plugin.type === "predicted-ttft-pd-decider") return { type: decider };
    if (plugin.type !== "disagg-profile-handler") return plugin;
    return { ...plugin, parameters: { deciders: { prefill: decider } } };
  });
  return { ...DISAGGREGATED_CONFIG, plugins };
}
