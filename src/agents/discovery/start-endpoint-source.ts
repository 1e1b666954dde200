// Begins to follow endpoints where an agent's flags say that they are found.

import type { MetricRegistry } from "../../telemetry/metrics.ts";
import type { Logger } from "../process/logger.ts";
import type { EndpointSource } from "./endpoint-source.ts";
import { FileSource } from "./file-source.ts";
import type { KubernetesFrom } from "./kubernetes/kubernetes-source.ts";

/** Where endpoints are found. */
export type EndpointsFrom =
  | { readonly endpointsPath: string }
  | { readonly kubernetes: KubernetesFrom };

interface StartOptions {
  readonly logger: Logger;
  readonly registry: MetricRegistry;
  /** Whether an InferencePool's objectives and rewrites are followed, too. */
  readonly withResources?: boolean;
}

/** Rejects, saying why, if there is no first set. */
export async function startEndpointSource(
  options: EndpointsFrom & StartOptions,
): Promise<EndpointSource> {
  const { logger, registry, withResources = false } = options;
  if ("endpointsPath" in options) {
    return FileSource.start({ path: options.endpointsPath, logger, registry });
  }
  // Its client library takes 90 MB of memory and a second of a processor: only for who asks for it.
  const { KubernetesSource } = await import("./kubernetes/kubernetes-source.ts");
  return KubernetesSource.start({ ...options.kubernetes, logger, registry, withResources });
}
