// A pool of several shards, isolates that decide alone, and endpoints with a bound on what runs at once; time
// in steps. What travels may be lost; processes begin anew. Two levels of credits:
//
//   lead ── requests at one endpoint ──▶ shards ── requests anywhere in the pool ──▶ isolates
//
// A pool of one shard has the second only, and picks nothing until relays have told it what runs.
//
// What runs where becomes known to shards by relays within half of a grant's life, as it does in a pool: of
// requests whose commit was lost, too, and to a shard that has begun anew. Shards reach the lead at
// least as often.

import { CreditHolder } from "../../../src/scheduler/credits/credit-holder.ts";
import { CreditIssuer } from "../../../src/scheduler/credits/credit-issuer.ts";

export const TTL_MS = 1_000;
const KNOWN_AFTER_MS = TTL_MS / 2;
const STEP_MS = 50;
const TOLD_WITHIN_MS = KNOWN_AFTER_MS + STEP_MS;

interface Ticket {
  readonly shard: Shard;
  readonly endpoint: number;
  readonly startedMs: number;
  endedMs: number | null;
}

interface Shard {
  readonly index: number;
  /** What it knows to run. */
  readonly known: Set<Ticket>;
  issuer: CreditIssuer;
  /** Of the lead, one for each endpoint. */
  holders: CreditHolder[];
  toldLeadMs: number;
  startedMs: number;
}

interface Isolate {
  readonly shard: Shard;
  holder: CreditHolder;
  /** Requests that it may still send to each endpoint, as it was last told, less its own since. */
  free: number[];
  commits: Ticket[];
}

export class PoolModel {
  readonly bounds: readonly number[];
  readonly tickets = new Set<Ticket>();
  readonly shards: Shard[];
  readonly isolates: Isolate[];
  nowMs = 0;
  #lead: CreditIssuer;
  /** In flight at each endpoint, as each shard has told the lead. */
  #told: (readonly number[] | undefined)[];
  /** Outstanding of issuers that have ended, until it has expired. */
  #inherited: { readonly tokens: readonly number[]; readonly endsMs: number }[] = [];
  #names = 0;

  constructor(bounds: readonly number[], shards: number, isolates: number) {
    this.bounds = bounds;
    this.#lead = this.#issuer();
    this.#told = Array.from({ length: shards }, () => undefined);
    this.shards = this.#told.map((_, index) => ({
      index,
      known: new Set<Ticket>(),
      issuer: this.#issuer(),
      holders: this.#leadHolders(),
      toldLeadMs: 0,
      startedMs: -Infinity,
    }));
    this.isolates = Array.from({ length: isolates }, (_, index) => ({
      ...this.#freshIsolate(),
      shard: this.shards[index % shards]!,
    }));
  }

  /** Requests that run at an endpoint, whoever knows of them. */
  running(endpoint: number): number {
    let count = 0;
    for (const ticket of this.tickets)
      if (ticket.endpoint === endpoint && ticket.endedMs === null) count += 1;
    return count;
  }

  /** Credits that may be spent on one endpoint: the lead's for it, and all that isolates have. */
  outstanding(endpoint: number): number {
    const inherited = this.#inherited.filter(({ endsMs }) => endsMs > this.nowMs);
    return [
      ...inherited.map(({ tokens }) => tokens[endpoint]!),
      ...this.shards.map(({ issuer }) => issuer.outstanding(this.nowMs)),
      this.#ofLead(endpoint),
    ].reduce((sum, tokens) => sum + tokens, 0);
  }

  /** The most that any issuer in use has outstanding of one scope, beside what the scope has room for. */
  mostOfRoom(): number {
    const all = this.bounds.reduce((sum, bound) => sum + bound, 0);
    const ofShards = this.shards.map(({ issuer }) => issuer.outstanding(this.nowMs) / all);
    const ofLead = this.bounds.map((bound, endpoint) => this.#ofLead(endpoint) / bound);
    return Math.max(...ofShards, ...ofLead);
  }

  wait(ms: number): void {
    for (let left = ms; left > 0; left -= STEP_MS) {
      this.nowMs += Math.min(STEP_MS, left);
      this.#relaysReport();
      for (const shard of this.shards)
        if (this.nowMs - shard.toldLeadMs > KNOWN_AFTER_MS) this.tellLead(shard.index, true);
    }
  }

  /** An isolate decides alone. */
  pickLocally(index: number): boolean {
    const isolate = this.isolates[index % this.isolates.length]!;
    const endpoint = mostFree(isolate.free);
    if (endpoint === undefined || !isolate.holder.trySpend(1, this.nowMs)) return false;
    isolate.free[endpoint]! -= 1;
    isolate.commits.push(this.#start(isolate.shard, endpoint));
    return true;
  }

  /** A shard is asked, and decides by its own credit. */
  consult(index: number): boolean {
    const shard = this.shards[index % this.shards.length]!;
    const endpoint = mostFree(this.#freeAt(shard));
    if (endpoint === undefined || this.nowMs - shard.startedMs <= KNOWN_AFTER_MS) return false;
    shard.holders[endpoint]!.trySpend(1, this.nowMs);
    shard.known.add(this.#start(shard, endpoint));
    return true;
  }

  end(index: number): void {
    const running = [...this.tickets].filter(({ endedMs }) => endedMs === null);
    const ticket = running[index % Math.max(1, running.length)];
    if (ticket !== undefined) ticket.endedMs = this.nowMs;
  }

  /**
   * An isolate tells its commits and asks for credit; or asks without them, as with a pick: then they are
   * untold.
   */
  sync(index: number, how: { withCommits: boolean; lost: "no" | "ask" | "answer" }): void {
    const isolate = this.isolates[index % this.isolates.length]!;
    const { shard, holder, commits } = isolate;
    const askedAtMs = this.nowMs;
    const sent = how.withCommits ? commits : [];
    const ask = holder.ask(askedAtMs, commits.length - sent.length);
    if (how.lost === "ask") return;
    for (const ticket of sent) this.#learn(shard, ticket);
    const free = this.#freeAt(shard);
    const room = free.reduce((sum, requests) => sum + requests, 0);
    const grant = shard.issuer.grant(ask, room, this.nowMs);
    if (how.lost === "answer") return;
    holder.granted(grant, askedAtMs);
    isolate.commits = commits.slice(sent.length);
    isolate.free = free;
    // Those that the shard has not heard of are not in what it says.
    for (const { endpoint } of isolate.commits) isolate.free[endpoint]! -= 1;
  }

  tellLead(index: number, mustArrive: boolean): void {
    const shard = this.shards[index % this.shards.length]!;
    const asks = shard.holders.map((holder) => holder.ask(this.nowMs));
    if (!mustArrive) return;
    shard.toldLeadMs = this.nowMs;
    this.#told[shard.index] = this.#inFlight(shard);
    asks.forEach((ask, endpoint) => {
      const grant = this.#lead.grant(ask, this.#roomAt(endpoint), this.nowMs);
      shard.holders[endpoint]!.granted(grant, this.nowMs);
    });
  }

  restartIsolate(index: number): void {
    const isolate = this.isolates[index % this.isolates.length]!;
    Object.assign(isolate, this.#freshIsolate());
  }

  restartShard(index: number): void {
    const shard = this.shards[index % this.shards.length]!;
    const ofShard = shard.issuer.outstanding(this.nowMs);
    this.#inherit(this.bounds.map(() => ofShard));
    shard.issuer = this.#issuer();
    shard.holders = this.#leadHolders();
    shard.known.clear();
    shard.startedMs = this.nowMs;
    if (shard.index !== 0) return;
    this.#inherit(this.bounds.map((_, endpoint) => this.#ofLead(endpoint)));
    this.#lead = this.#issuer();
    this.#told = this.#told.map(() => undefined);
  }

  #ofLead(endpoint: number): number {
    return this.shards.length === 1 ? 0 : this.#lead.outstanding(this.nowMs, scopeOf(endpoint));
  }

  #inherit(tokens: readonly number[]): void {
    this.#inherited = this.#inherited.filter(({ endsMs }) => endsMs > this.nowMs);
    this.#inherited.push({ tokens, endsMs: this.nowMs + TTL_MS + TOLD_WITHIN_MS });
  }

  /** Nothing while it does not know what every shard has in flight. */
  #roomAt(endpoint: number): number {
    let room = this.bounds[endpoint]!;
    for (const told of this.#told) room -= told?.[endpoint] ?? Infinity;
    return Math.max(0, room);
  }

  /** What a shard may send where: its credit of the lead, within what it knows itself. */
  #freeAt(shard: Shard): number[] {
    const inFlight = this.#inFlight(shard);
    return this.bounds.map((bound, endpoint) => {
      const holder = shard.holders[endpoint]!;
      const credit = this.shards.length === 1 ? bound : holder.available(this.nowMs);
      return Math.max(0, Math.min(credit, bound - inFlight[endpoint]!));
    });
  }

  #inFlight(shard: Shard): number[] {
    const counts = this.bounds.map(() => 0);
    for (const { endpoint } of shard.known) counts[endpoint]! += 1;
    return counts;
  }

  #start(shard: Shard, endpoint: number): Ticket {
    const ticket = { shard, endpoint, startedMs: this.nowMs, endedMs: null };
    this.tickets.add(ticket);
    return ticket;
  }

  /** What others have let through takes of the shard's own credit, as far as it has some. */
  #learn(shard: Shard, ticket: Ticket): void {
    if (shard.known.has(ticket) || ticket.endedMs !== null) return;
    shard.known.add(ticket);
    shard.holders[ticket.endpoint]!.trySpend(1, this.nowMs);
  }

  #relaysReport(): void {
    for (const ticket of this.tickets) {
      const { shard, startedMs, endedMs } = ticket;
      if (endedMs === null && this.nowMs - startedMs >= KNOWN_AFTER_MS) this.#learn(shard, ticket);
      if (endedMs === null || this.nowMs - endedMs < KNOWN_AFTER_MS) continue;
      shard.known.delete(ticket);
      this.tickets.delete(ticket);
    }
  }

  #freshIsolate() {
    const id = `isolate-${++this.#names}`;
    return {
      holder: new CreditHolder({ scope: "pool", id, wantMin: 4 }),
      free: this.bounds.map(() => 0),
      commits: [] as Ticket[],
    };
  }

  #leadHolders(): CreditHolder[] {
    const id = `shard-${++this.#names}`;
    return this.bounds.map(
      (_, endpoint) => new CreditHolder({ scope: scopeOf(endpoint), id, wantMin: 4 }),
    );
  }

  #issuer(): CreditIssuer {
    const epoch = `issuer-${++this.#names}`;
    return new CreditIssuer({
      epoch,
      startedAtMs: this.nowMs,
      ttlMs: TTL_MS,
      toldWithinMs: TOLD_WITHIN_MS,
    });
  }
}

function scopeOf(endpoint: number): string {
  return `endpoint/${endpoint}`;
}

function mostFree(free: readonly number[]): number | undefined {
  let best: number | undefined;
  free.forEach((requests, endpoint) => {
    if (requests > 0 && (best === undefined || requests > free[best]!)) best = endpoint;
  });
  return best;
}
