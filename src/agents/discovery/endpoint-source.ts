// The endpoints that an agent knows, wherever they are found: in a file, or in a Kubernetes cluster.

import type { EndpointRecord } from "../protocol/messages.ts";

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
