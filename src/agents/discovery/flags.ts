// Flags that say where an agent finds its pool's endpoints: in a file, or in a Kubernetes cluster.

import { choiceFlag, type Flag, textFlag, UsageError } from "../process/flags.ts";
import type { EndpointsFrom } from "./start-endpoint-source.ts";
import { POOL_GROUPS, type PoolGroup } from "./kubernetes/inference-pool.ts";

export const DISCOVERY_FLAGS = {
  endpoints: textFlag("FILE", "the endpoints file, YAML or JSON; followed while it changes", null),
  "inference-pool": objectFlag("the InferencePool whose pods are the endpoints"),
  "inference-pool-group": {
    ...choiceFlag(
      POOL_GROUPS,
      `its API group, ${POOL_GROUPS.join(" (v1) or\n")} (v1alpha2)`,
      "inference.networking.k8s.io",
    ),
    placeholder: "GROUP",
  },
  service: objectFlag("the Service whose EndpointSlices are the endpoints"),
  "service-port": textFlag("PORT", "name or number of its target port; else its only one", null),
  kubeconfig: textFlag("FILE", "how the API server is reached; else this pod's own account", null),
} as const;

export interface NamedObject {
  readonly namespace: string;
  readonly name: string;
}

interface DiscoveryFlagValues {
  readonly endpoints: string | null;
  readonly "inference-pool": NamedObject | null;
  readonly "inference-pool-group": PoolGroup;
  readonly service: NamedObject | null;
  readonly "service-port": string | null;
  readonly kubeconfig: string | null;
}

/** Throws UsageError unless exactly one place is given, with flags that belong to it. */
export function endpointsFrom(flags: DiscoveryFlagValues): EndpointsFrom {
  const { endpoints, "inference-pool": pool, service, kubeconfig } = flags;
  if ([endpoints, pool, service].filter((place) => place !== null).length !== 1) {
    throw new UsageError(
      "Exactly one of --endpoints FILE, --inference-pool NAMESPACE/NAME and --service NAMESPACE/NAME is required.",
    );
  }
  if (service === null && flags["service-port"] !== null) {
    throw new UsageError("--service-port needs --service.");
  }
  if (endpoints !== null) {
    if (kubeconfig === null) return { endpointsPath: endpoints };
    throw new UsageError("--kubeconfig needs --inference-pool or --service.");
  }
  if (pool !== null) {
    const group = flags["inference-pool-group"];
    return { kubernetes: { ...pool, object: { kind: "InferencePool", group }, kubeconfig } };
  }
  const port = flags["service-port"];
  return { kubernetes: { ...service!, object: { kind: "Service", port }, kubeconfig } };
}

/** `NAMESPACE/NAME`, each as Kubernetes has them: they become parts of a path. */
function objectFlag(help: string): Flag<NamedObject | null> {
  return {
    placeholder: "NAMESPACE/NAME",
    help,
    fallback: null,
    parse(text) {
      const match =
        /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)\/([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)$/.exec(text);
      return match === null
        ? { ok: false, expected: "NAMESPACE/NAME, in lower-case letters, digits and hyphens" }
        : { ok: true, value: { namespace: match[1]!, name: match[3]! } };
    },
  };
}
