// The endpoints that an agent knows, wherever they are found: in a file, or in a Kubernetes cluster.

import type { MetricRegistry } from "../../telemetry/metrics.ts";
import type { Logger } from "../process/logger.ts";
import type { EndpointRecord } from "../protocol/messages.ts";
import { FileSource } from "./file-source.ts";
import type { KubernetesFrom } from "./kubernetes/kubernetes-source.ts";

export type EndpointListener = (endpoints: readonly EndpointRecord[]) => void;

export interface EndpointSource {
  /** The last good set. It stays in force for as long as there is no newer one. */
  readonly endpoints: readonly EndpointRecord[];
  /** What somebody must repair here, and what makes the agent unhealthy; undefined if nothing does. */
  readonly problem: string | undefined;
  /**
   * For /health: how old the set is, and what keeps news from coming. An agent whose set is old stays
   * healthy: all agents of a cluster lose its API server at once, and their engines still serve.
   */
  readonly health: Readonly<Record<string, string | number | null>>;
  /** Calls `listener` after every change of the set, not for the set known now. */
  onChange(listener: EndpointListener): void;
  close(): void;
}

/** Where endpoints are found. */
export type EndpointsFrom =
  | { readonly endpointsPath: string }
  | { readonly kubernetes: KubernetesFrom };

/** Rejects, saying why, if there is no first set. */
export async function startEndpointSource(
  options: EndpointsFrom & { readonly logger: Logger; readonly registry: MetricRegistry },
): Promise<EndpointSource> {
  const { logger, registry } = options;
  if ("endpointsPath" in options) {
    return FileSource.start({ path: options.endpointsPath, logger, registry });
  }
  // Its client library takes 90 MB of memory and a second of a processor: only for who asks for it.
  const { KubernetesSource } = await import("./kubernetes/kubernetes-source.ts");
  return KubernetesSource.start({ ...options.kubernetes, logger, registry });
}
