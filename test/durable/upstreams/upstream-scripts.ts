// Tests' side of upstream-server.ts.

import { inject } from "vitest";
import type { UpstreamScript, UpstreamSeen } from "./upstream-server.ts";

/** What the upstream of this name does from now on; what it has seen before is forgotten. */
export async function scriptUpstream(name: string, script: UpstreamScript): Promise<void> {
  const init = { method: "PUT", body: JSON.stringify(script) };
  await (await fetch(`${inject("upstreamUrl")}/control/${name}`, init)).arrayBuffer();
}

export async function seenByUpstream(name: string): Promise<readonly UpstreamSeen[]> {
  return (await fetch(`${inject("upstreamUrl")}/seen/${name}`)).json<UpstreamSeen[]>();
}

/** As an llm-d endpoint picker publishes it. */
export function gatewayMetrics(queue: number, kvUsage = 0.2, endpoints = 1): string {
  return [
    "# TYPE llm_d_epp_average_kv_cache_utilization gauge",
    `llm_d_epp_average_kv_cache_utilization{name="pool-a"} ${kvUsage}`,
    "# TYPE llm_d_epp_average_queue_size gauge",
    `llm_d_epp_average_queue_size{name="pool-a"} ${queue}`,
    "# TYPE llm_d_epp_ready_endpoints gauge",
    `llm_d_epp_ready_endpoints{name="pool-a"} ${endpoints}`,
    "",
  ].join("\n");
}
