// Which endpoints the pool has, from what its collectors claim.
//
// The pool is the union of all claims. A collector that is gone keeps its claim for LEASE_MS, so that
// a reconnect or a rolling update empties nothing; then its endpoints leave. Where two claims name
// the same id or the same address, a connected collector's counts before a gone one's, and the newer
// claim before the older.

import type { EndpointRecord } from "../agents/protocol/messages.ts";
import { PROTOCOL_LIMITS } from "../agents/protocol/limits.ts";
import type { Clock } from "../scheduler/support/clock.ts";

/** How long the endpoints of a collector that is gone stay. */
export const MEMBERSHIP_LEASE_MS = 30_000;
/** Collectors whose claims are kept, connected or not. */
export const CLAIMS_MAX = 16;

/** An endpoint as it is listed here: what collectors do not know may be of another engine than they name. */
export type ListedEndpoint = Omit<EndpointRecord, "engine"> & { readonly engine: string };

interface Claim {
  readonly agent: string;
  endpoints: readonly EndpointRecord[];
  /** Counts claims, so that the newest is known even if the clock stands still. */
  order: number;
  /** Infinity while the collector is connected. */
  leaseEndsMs: number;
}

export class Membership {
  readonly #clock: Clock;
  readonly #claims = new Map<string, Claim>();
  #order = 0;
  #configured: readonly ListedEndpoint[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Endpoints that the configuration names. They are there for as long as it does, and while there are any
   * no other is: no relay stands before what collectors claim in such a pool.
   */
  configure(endpoints: readonly ListedEndpoint[]): void {
    this.#configured = endpoints;
  }

  /** A connected collector lists its endpoints. False if too many collectors have claims. */
  claim(agent: string, endpoints: readonly EndpointRecord[]): boolean {
    return this.#put(agent, endpoints, Infinity);
  }

  /** A claim from an earlier life of the object: kept for one lease unless its collector returns. */
  restore(agent: string, endpoints: readonly EndpointRecord[]): void {
    this.#put(agent, endpoints, this.#clock() + MEMBERSHIP_LEASE_MS);
  }

  /** The collector is connected (again); what it claimed before still stands. */
  connected(agent: string): void {
    const claim = this.#claims.get(agent);
    if (claim !== undefined) claim.leaseEndsMs = Infinity;
  }

  disconnected(agent: string): void {
    const claim = this.#claims.get(agent);
    if (claim?.leaseEndsMs === Infinity) claim.leaseEndsMs = this.#clock() + MEMBERSHIP_LEASE_MS;
  }

  /** Collectors whose lease is over; their claims are dropped. */
  expire(): string[] {
    const nowMs = this.#clock();
    const gone = [...this.#claims.values()]
      .filter((claim) => claim.leaseEndsMs <= nowMs)
      .map((claim) => claim.agent);
    for (const agent of gone) this.#claims.delete(agent);
    return gone;
  }

  /** Whether a lease is running, so that `expire` has to be asked. */
  get hasLeases(): boolean {
    return [...this.#claims.values()].some((claim) => claim.leaseEndsMs !== Infinity);
  }

  /** The pool's endpoints by id, no address twice, at most PROTOCOL_LIMITS.endpointsMax. */
  endpoints(): Map<string, ListedEndpoint> {
    if (this.#configured.length > 0)
      return new Map(this.#configured.map((endpoint) => [endpoint.id, endpoint]));
    const claims = [...this.#claims.values()].sort(
      (a, b) =>
        Number(b.leaseEndsMs === Infinity) - Number(a.leaseEndsMs === Infinity) ||
        b.order - a.order,
    );
    const byId = new Map<string, ListedEndpoint>();
    const addresses = new Set<string>();
    for (const claim of claims) {
      for (const endpoint of claim.endpoints) {
        if (byId.size >= PROTOCOL_LIMITS.endpointsMax) return byId;
        if (byId.has(endpoint.id) || addresses.has(endpoint.address)) continue;
        byId.set(endpoint.id, endpoint);
        addresses.add(endpoint.address);
      }
    }
    return byId;
  }

  #put(agent: string, endpoints: readonly EndpointRecord[], leaseEndsMs: number): boolean {
    if (!this.#claims.has(agent) && this.#claims.size >= CLAIMS_MAX && !this.#dropOldestLease()) {
      return false;
    }
    this.#order += 1;
    this.#claims.set(agent, { agent, endpoints, order: this.#order, leaseEndsMs });
    return true;
  }

  #dropOldestLease(): boolean {
    let oldest: Claim | undefined;
    for (const claim of this.#claims.values()) {
      if (claim.leaseEndsMs === Infinity) continue;
      if (oldest === undefined || claim.leaseEndsMs < oldest.leaseEndsMs) oldest = claim;
    }
    return oldest !== undefined && this.#claims.delete(oldest.agent);
  }
}
