// What a pool's object does as time passes: it ends leases, and writes down what must outlive it.

import type { AgentConnections } from "./agent-connection.ts";
import type { EdgeDesk } from "./edge/edge-desk.ts";
import type { Endpoints } from "./endpoints.ts";
import type { ResidentKnowledge } from "./kv/resident-knowledge.ts";
import type { Picks } from "./picks.ts";
import type { PoolStorage } from "./pool-storage.ts";
import type { PrefixMemory } from "./prefix/memory.ts";
import type { KeptDebts } from "./queue/kept-debts.ts";
import type { PoolReports } from "./summary/pool-reports.ts";
import { systemClock } from "./system.ts";
import type { SettledTickets } from "./tickets/settled.ts";
import type { Usage } from "./usage.ts";

/** Expiries are looked at, and usage is written, at most this often; nothing ticks when idle. */
const TICK_MS = 500;

export interface UpkeepOptions {
  readonly stored: PoolStorage;
  readonly usage: Usage;
  readonly settled: SettledTickets;
  readonly endpoints: Endpoints;
  readonly prefixes: PrefixMemory;
  readonly resident: ResidentKnowledge;
  readonly picks: Picks;
  readonly debts: KeptDebts;
  readonly reports: PoolReports;
  readonly agents: AgentConnections;
  readonly edge: EdgeDesk;
}

export class Upkeep {
  readonly #options: UpkeepOptions;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: UpkeepOptions) {
    this.#options = options;
  }

  /** While this holds, a timer keeps the object from hibernating, as open tickets must. */
  get isNeeded(): boolean {
    const { picks, usage, prefixes, agents, endpoints } = this.#options;
    return (
      picks.hasTickets ||
      usage.isDirty ||
      prefixes.journal.isDirty ||
      agents.needsTick ||
      endpoints.membership.hasLeases
    );
  }

  /** Plans a tick unless one is planned or nothing waits for time to pass. */
  schedule(): void {
    this.#options.reports.noticed();
    if (this.#timer !== undefined || !this.isNeeded) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      try {
        this.#tick();
      } finally {
        this.schedule();
      }
    }, TICK_MS);
  }

  #tick(): void {
    const { picks, prefixes, debts, endpoints, resident, stored, agents } = this.#options;
    picks.ends.sweep();
    this.#options.edge.sweep();
    // In a turn of its own: in one transaction with confirmed writes it would hold replies back.
    if (prefixes.journal.isDirty) setTimeout(() => prefixes.journal.write(), 0);
    debts.keep(picks.admission.queue?.gate, systemClock());
    const gone = endpoints.membership.expire();
    if (gone.length > 0) {
      endpoints.sync();
      resident.endpointsChanged();
    }
    for (const agent of gone) stored.deleteClaim(agent);
    agents.closeSilent();
    this.#keepUsage();
    agents.saved();
  }

  /**
   * Usage before acks, and in one transaction with the numbers of the reports it came from: what is
   * acknowledged is durable, and what is durable is never applied again.
   */
  #keepUsage(): void {
    const { usage, settled, stored } = this.#options;
    const agents = this.#options.agents.unsaved();
    if (!usage.isDirty && agents.length === 0) return;
    const batch = { usage: usage.take(), agents, tickets: settled.take() };
    try {
      stored.settle(batch, systemClock());
    } catch (error) {
      // Nothing of it is written: it waits for the next tick, and so do the acknowledgements.
      usage.putBack(batch.usage);
      for (const ticket of batch.tickets) settled.add(ticket);
      throw error;
    }
  }
}
