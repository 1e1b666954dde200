// What a pool's agents say, handed to whoever in its object is concerned.

import type { EndpointRecord, TicketReport } from "../agents/protocol/messages.ts";
import type { MetricsSpecification } from "../scheduler/data-layer/specification.ts";
import type { AgentEvents } from "./agent-events.ts";
import type { PoolObjectConfig } from "./contract.ts";
import type { Endpoints, Scrape } from "./endpoints.ts";
import type { ResidentKnowledge } from "./kv/resident-knowledge.ts";
import type { Picks } from "./picks.ts";
import type { PoolStorage } from "./pool-storage.ts";
import type { ClusterResources } from "./resources/pool-resources.ts";
import type { PoolShards } from "./shards/pool-shards.ts";
import type { PoolReports } from "./summary/pool-reports.ts";
import type { RelayLife } from "./tickets/ticket.ts";

export interface ToldByAgentsOptions {
  readonly stored: PoolStorage;
  readonly endpoints: Endpoints;
  readonly resident: ResidentKnowledge;
  readonly picks: Picks;
  readonly reports: PoolReports;
  readonly resources: ClusterResources;
  readonly shards: PoolShards;
  readonly config: () => PoolObjectConfig | undefined;
  readonly specification: () => MetricsSpecification;
  readonly tickNeeded: () => void;
}

export class ToldByAgents {
  readonly #options: ToldByAgentsOptions;

  constructor(options: ToldByAgentsOptions) {
    this.#options = options;
  }

  events(): AgentEvents {
    const { stored, endpoints, resident, picks, reports, resources, shards } = this.#options;
    const { config, specification, tickNeeded } = this.#options;
    const { membership } = endpoints;
    return {
      config,
      specification,
      acked: (reporter) => stored.acked(reporter),
      collectorConnected: (agent) => membership.connected(agent),
      collectorDisconnected: (agent) => {
        membership.disconnected(agent);
        resident.disconnected(agent);
        tickNeeded();
      },
      claimed: (agent, records) => this.#claimed(agent, records),
      scraped: (address, scrape) => this.scraped(address, scrape),
      served: (served) => endpoints.served(served),
      relayConnected: (relay) => picks.relayConnected(relay),
      reported: (report, relay) => this.#reported(report, relay),
      started: (tickets) => {
        for (const { ticket, attempt } of tickets) picks.ends.started(ticket, attempt);
      },
      wantsFirstBytes: () => picks.admission.mayEvict,
      shards: () => shards.agentsMap,
      marked: ({ endpoint, leaseMs }) => {
        endpoints.eject(endpoint, leaseMs);
        picks.admission.queue?.drainSoon();
      },
      collectorHeard: (agent) => {
        reports.collectorHeard();
        resident.heard(agent);
        resources.push();
      },
      resourcesTold: (told) => resources.told(told),
      kvOffered: (agent, offer) => resident.offered(agent, offer),
      kvReceived: (agent, sections, frame) => resident.received(agent, sections, frame),
      kvLost: (agent, seq) => resident.lost(agent, seq),
      tickNeeded,
    };
  }

  /** Also of an upstream, which the object reads itself. */
  scraped(address: string, scrape: Scrape): void {
    const { endpoints, picks } = this.#options;
    endpoints.scraped(address, scrape);
    picks.admission.queue?.drainSoon();
  }

  #claimed(agent: string, records: readonly EndpointRecord[]): boolean {
    const { stored, endpoints, resident, picks } = this.#options;
    if (!endpoints.membership.claim(agent, records)) return false;
    endpoints.sync();
    resident.endpointsChanged();
    picks.admission.queue?.drainSoon();
    stored.setClaim(agent, records);
    return true;
  }

  #reported(report: TicketReport, relay: RelayLife): void {
    const { endpoints, picks } = this.#options;
    const slot = endpoints.slotOfAddress(report.endpoint);
    if (report.kind === "opened") picks.ends.opened(report, slot, relay);
    else if (report.kind === "prefilled") picks.ends.prefilled(report, slot);
    else picks.ends.closed(report, slot);
  }
}
