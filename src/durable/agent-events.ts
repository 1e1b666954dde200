// What a pool's object does about what its agents say.

import type { KvSection } from "../agents/protocol/kv-frames.ts";
import type {
  Configure,
  EndpointRecord,
  Mark,
  StartedTicket,
  TicketReport,
} from "../agents/protocol/messages.ts";
import type { ResourcesPayload } from "../agents/protocol/resources.ts";
import type { MetricsSpecification } from "../scheduler/data-layer/specification.ts";
import type { OfferedEndpoints, ServedModels } from "./agent-frames.ts";
import type { PoolObjectConfig } from "./contract.ts";
import type { Scrape } from "./endpoints.ts";
import type { Reporter } from "./tickets/applied-reports.ts";

/** The domain's side of the sockets. */
export interface AgentEvents {
  /** Undefined while the pool is not configured: nobody is welcome then. */
  config(): PoolObjectConfig | undefined;
  /** What collectors are to read. */
  specification(): MetricsSpecification;
  /** Whether relays are to say which answers have begun. `configure` tells them a change. */
  wantsFirstBytes(): boolean;
  /**
   * How the pool is spread over objects, of which this is one; undefined, or absent, for the only one.
   * `configure` tells a change.
   */
  shards?(): Configure["shards"];
  /** What is durable of the reports of an agent's epoch. */
  acked(reporter: Reporter): { readonly seq: number; readonly report: number };
  collectorConnected(agent: string): void;
  collectorDisconnected(agent: string): void;
  /** False if the pool has too many collectors. */
  claimed(agent: string, endpoints: readonly EndpointRecord[]): boolean;
  scraped(address: string, scrape: Scrape): void;
  /** What an endpoint serves, as a collector found it. */
  served(served: ServedModels): void;
  /** A relay has said hello: for the first time in this life, or again. */
  relayConnected(relay: Reporter): void;
  reported(report: TicketReport, relay: Reporter): void;
  /** A relay could not reach an endpoint, or could again. */
  marked(mark: Mark): void;
  /**
   * Answers that have begun towards the Worker: these requests are ended for nobody. Perhaps said
   * twice, perhaps of tickets that nobody knows any more; also what a relay says to an `evict` that
   * came too late.
   */
  started(tickets: readonly StartedTicket[]): void;
  /** A frame of a collector has come, whatever is in it. */
  collectorHeard(agent: string): void;
  /** The endpoints whose KV caches a collector follows, in place of what it said before. */
  kvOffered(agent: string, offer: OfferedEndpoints): void;
  /** What endpoints hold from now on; see KvFeeds. */
  kvReceived(
    agent: string,
    sections: readonly KvSection[],
    frame: { readonly seq: number; readonly bytes: number },
  ): void;
  /** Frames of a collector are missing before `seq`. */
  kvLost(agent: string, seq: number): void;
  /** What a collector's cluster says of the pool's objectives and rewrites. */
  resourcesTold(resources: ResourcesPayload): void;
  /** Something has to be done at the next tick: an ack is due, a socket has not said hello. */
  tickNeeded(): void;
}
