// The same eight engines, together or apart.

import { DISAGGREGATED_CONFIG } from "../../../src/scheduler/config/disaggregated-config.ts";
import { shipped } from "../policies/shipped.ts";
import type { PolicyDefinition } from "../policy.ts";
import { DEFAULT_SHAPE, type PoolShape } from "../pool-shape.ts";

export interface Configuration {
  readonly name: string;
  readonly about: string;
  readonly shape: PoolShape;
  readonly policy: PolicyDefinition;
}

/** Its handler names the decider, whatever that is. */
function decidedBy(plugin: { readonly type: string; readonly parameters?: object }): unknown {
  const plugins = DISAGGREGATED_CONFIG.plugins.map((each) => {
    if (each.type === "predicted-ttft-pd-decider") return plugin;
    if (each.type !== "disagg-profile-handler") return each;
    return { ...each, parameters: { deciders: { prefill: plugin.type } } };
  });
  return { ...DISAGGREGATED_CONFIG, plugins };
}

function apart(prefillers: number): PoolShape {
  const roles = Array.from({ length: DEFAULT_SHAPE.endpointCount }, (_, slot) =>
    slot < prefillers ? "prefill" : "decode",
  );
  return { ...DEFAULT_SHAPE, roles };
}

/** llm-d's example for the number of tokens (deploy/config). */
const TOKENS = { type: "prefix-based-pd-decider", parameters: { nonCachedTokens: 16 } };

export const CONFIGURATIONS: readonly Configuration[] = [
  configuration("together", "eight engines that do everything", DEFAULT_SHAPE, undefined),
  configuration("predicted 4+4", "predicted-ttft-pd-decider", apart(4), DISAGGREGATED_CONFIG),
  configuration("predicted 2+6", "the same, other numbers", apart(2), DISAGGREGATED_CONFIG),
  configuration(
    "tokens 4+4",
    "prefix-based-pd-decider from 16 tokens on",
    apart(4),
    decidedBy(TOKENS),
  ),
  configuration(
    "always 4+4",
    "always-disagg-pd-decider",
    apart(4),
    decidedBy({ type: "always-disagg-pd-decider" }),
  ),
];

function configuration(
  name: string,
  about: string,
  shape: PoolShape,
  config: unknown,
): Configuration {
  return { name, about, shape, policy: shipped({ name, about }, config) };
}
