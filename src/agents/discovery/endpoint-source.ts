// The endpoints that an agent knows, wherever they are found: in a file, or in a Kubernetes cluster.

import type { EndpointRecord } from "../protocol/messages.ts";
import type { ResourcesPayload } from "../protocol/resources.ts";

export type EndpointListener = (endpoints: readonly EndpointRecord[]) => void;

/** What a cluster says of the pool besides its endpoints. */
export interface ToldResources {
  /** A kind is absent while it is not known. */
  current(): ResourcesPayload;
}

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
  /** Only where they were asked for, and in a cluster. */
  readonly resources?: ToldResources | undefined;
  /** Calls `listener` whenever resources may have changed. */
  onResources?(listener: () => void): void;
  /** Calls `listener` after every change of the set, not for the set known now. */
  onChange(listener: EndpointListener): void;
  close(): void;
}
