// Requests over several pools at once: objects that answer as a test says, relays on real sockets.

import { inject } from "vitest";
import { parseDeployment } from "../../../src/config/deployment.ts";
import type {
  EdgePort,
  HeldGrant,
  KeptPick,
  PickRefusal,
  PickRequest,
  PoolPort,
  WorkerRelease,
} from "../../../src/durable/contract.ts";
import type { DropReason } from "../../../src/scheduler/outcome.ts";
import type { PoolCandidate } from "../../../src/scheduler/pools/contracts.ts";
import { poolAddress, poolNameOf, shardIndexOf } from "../../../src/config/pool-address.ts";
import { edgePools } from "../../../src/worker/edge/edge-pools.ts";
import { views } from "../../../src/worker/upstream/pick-in-pool.ts";
import { createCall } from "../../../src/worker/call.ts";
import { DirectoryIndex } from "../../../src/worker/directory-index.ts";
import { BUILT_PARSERS } from "../../../src/worker/parsers/built-parsers.ts";
import { prepareFor } from "../../../src/worker/parsers/preparation.ts";
import { RequestTelemetry } from "../../../src/worker/telemetry.ts";
import { dispatch } from "../../../src/worker/upstream/dispatch.ts";
import { seenAs } from "./deployment.ts";
import { edgeSnapshot } from "./scripted-object.ts";
import { PLACE_PATH, RELAY_KEY } from "./relay-key.ts";

const PATH = "/v1/chat/completions";
const ENDPOINTS = ["10.0.0.1:8000", "10.0.0.2:8000"];

/** Of an object that is asked only where that is worth it. */
const FAR_MS = 40;
/** Prompts that others send to a pool. */
const BUSY = { requestsPerS: 5_000, promptTokens: 9_000, uncachedTokens: 9_000, kvTokens: 9_000 };
const SOME_AGE_MS = 30;

const KNOWS_NOTHING = { epoch: "", version: 0 };

/** What a pool's object does: grants, unless it is told a reason. A queue lets wait who may. */
export interface TestPool {
  /** Base URLs; of one, "" means a relay at the pool's own place. */
  relays?: readonly string[];
  refuses?: DropReason | "unavailable";
  /** Objects that it has. */
  shards?: number;
  /** What some of them do instead: refuse, or send on to so many. */
  at?: Readonly<Record<number, DropReason | "unavailable" | { readonly count: number }>>;
  hasQueue?: boolean;
  isFallback?: boolean;
  /**
   * What it makes of a request that was sent already: keeps it, unless told otherwise. `before`: of a release that does not know what
   * that is; `silent`: says nothing until the client has left.
   */
  sent?: "called-off" | "away" | "before" | "refused" | "silent";
  /** All that its object knows. */
  endpoints?: readonly string[];
}

/** One deployment, whose pools no other test has: what an isolate knows of pools outlasts a test. */
export class ManyPools {
  static #count = 0;
  readonly pools: TestPool[];
  readonly names: string[];
  readonly asked: PickRequest[][];
  readonly released: WorkerRelease[][];
  /** Grants that nobody holds any more. */
  readonly disposed: number[];
  readonly #index: DirectoryIndex;

  constructor(pools: TestPool[], routing: object = {}) {
    const prefix = `fo${ManyPools.#count++}`;
    this.pools = pools;
    this.names = pools.map((_, i) => `${prefix}-${i}`);
    this.asked = pools.map(() => []);
    this.released = pools.map(() => []);
    this.disposed = pools.map(() => 0);
    const parsed = parseDeployment({
      version: 1,
      pools: pools.map(({ relays = [""], shards = 1 }, i) => ({
        name: this.names[i],
        shards,
        region: "eu",
        models: ["m"],
        agentToken: "agent-token-0123456789",
        relays: relays.map((url) => ({ url: url || this.relayAt(i), keys: [RELAY_KEY] })),
      })),
      tenants: [],
      routing,
    });
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
    this.#index = new DirectoryIndex(1, parsed.value);
  }

  /** The relay at the place of the pool's index. */
  relayAt(i: number): string {
    return `${inject("relayUrl")}${PLACE_PATH}${i}`;
  }

  /** This isolate has a replica of the pool, as if it had just been asked. */
  seen(i: number): void {
    const name = this.names[i]!;
    const pool = this.#index.pool(name)!;
    const request = { request: { keys: new Uint32Array(0) } } as PickRequest;
    const edge = edgePools.of(poolAddress(pool.config), pool, views.of(name));
    edge.granted(
      this.#grant(i, { ...request, attempt: 1, exclude: [], edge: KNOWS_NOTHING }),
      request,
      Date.now(),
    );
  }

  /** The same, of a pool that is far, and that others send much to, with credit: what is sent is asked about meanwhile. */
  async loaded(i: number): Promise<void> {
    const name = this.names[i]!;
    const pool = this.#index.pool(name)!;
    const edge = edgePools.of(poolAddress(pool.config), pool, views.of(name));
    const request = { request: { keys: new Uint32Array(0) } } as PickRequest;
    const grant = this.#grant(i, { ...request, attempt: 1, exclude: [], edge: KNOWS_NOTHING });
    const digest = { version: "d", added: new Uint32Array(0) };
    const askedAtMs = Date.now();
    edge.link.measured(FAR_MS, askedAtMs);
    edge.granted(
      {
        ...grant,
        edge: { ...grant.edge!, digest, rate: BUSY },
        credit: {
          scope: `pool/${poolAddress(pool.config)}`,
          epoch: "c",
          seq: 1,
          limit: 9,
          ttlMs: 60_000,
        },
      },
      request,
      askedAtMs,
    );
    // A snapshot that is new has missed nothing.
    while (Date.now() < askedAtMs + SOME_AGE_MS) await scheduler.wait(5);
  }

  async send(
    fields: object = {},
    {
      choice,
      signal = new AbortController().signal,
    }: { choice?: PoolCandidate[]; signal?: AbortSignal } = {},
  ) {
    const body = { model: "m", messages: [{ role: "user", content: "Hi" }], ...fields };
    const bytes = Uint8Array.from(new TextEncoder().encode(JSON.stringify(body)));
    const request = new Request("https://fairlead.test");
    const parser = BUILT_PARSERS.find(PATH)!;
    const input = { path: PATH, bytes, headers: request.headers };
    const parsed = parser.parse(input);
    if (!parsed.ok) throw new Error(parsed.error.message);
    const tenant = {
      id: "acme",
      priority: 0,
      weight: 1,
      trustedHop: false,
      isolated: false,
    } as never;
    const call = createCall(request);
    const telemetry = new RequestTelemetry(call, PATH);
    telemetry.facts.isStream = "stream" in fields;
    const held: Promise<void>[] = [];
    const dispatched = await dispatch({
      call,
      telemetry,
      tenant,
      receivedAtMs: Date.now(),
      weightOf: () => undefined,
      prepare: await prepareFor(parsed.value, { parser, input, tenant, models: ["m"] }),
      routes: this.pools.map(({ hasQueue = false, isFallback = false }, i) => ({
        pool: { ...this.#index.pool(this.names[i]!)!, hasQueue },
        model: "m",
        rewrite: null,
        variant: null,
        isFallback,
      })),
      choice,
      routing: this.#index.routing,
      headers: request.headers,
      port: (address) => this.#port(this.names.indexOf(poolNameOf(address)), shardIndexOf(address)),
      signal,
      bindings: {},
      hold: (work) => void held.push(work),
    });
    const text = dispatched.ok ? await dispatched.response.text().catch(() => "broken") : "";
    await Promise.all(held);
    const { facts } = telemetry;
    return {
      dispatched,
      facts,
      text,
      requestId: call.requestId,
      status: dispatched.ok ? dispatched.response.status : dispatched.error.code,
      /** Index of the pool that was asked last. */
      at: this.names.indexOf(facts.pool ?? ""),
    };
  }

  #port(i: number, shard: number): PoolPort & EdgePort {
    return {
      pick: (request) => {
        this.asked[i]!.push(request);
        const { at, hasQueue } = this.pools[i]!;
        const refuses = at?.[shard] ?? this.pools[i]!.refuses;
        if (typeof refuses === "object")
          return Promise.resolve({ ok: "moved", shards: { ...refuses, version: 0, splits: [] } });
        if (refuses === "unavailable") return Promise.reject(new Error("away"));
        if (request.sent !== undefined) return this.#sent(i, request);
        const { flow } = request;
        const isEmpty = refuses === "rejected-no-endpoints";
        const waits = flow !== undefined && (!isEmpty || flow.waitsForEndpoints);
        if (refuses !== undefined && !(hasQueue === true && waits)) {
          const refusal = { ok: false, reason: refuses, detail: "", retryAfterMs: 1_000 } as const;
          return Promise.resolve(refusal);
        }
        return Promise.resolve(this.#grant(i, request));
      },
      leave: () => Promise.resolve(),
      sync: () => Promise.reject(new Error('The receiver does not implement the method "sync".')),
    };
  }

  async #sent(i: number, request: PickRequest): Promise<HeldGrant | KeptPick | PickRefusal> {
    const kept: KeptPick = { ok: "kept" };
    const [first = ""] = request.sent!.endpoints;
    const grant = this.#grant(i, request);
    const endpoints = [...grant.endpoints.filter((each) => each !== first), first];
    switch (this.pools[i]!.sent) {
      case "called-off":
        // Once it is there.
        while ((await seenAs(request.request.requestId)) === null) await scheduler.wait(5);
        return { ...grant, endpoints, callsOff: true };
      case "away":
        throw new Error("away");
      case "before":
        return grant;
      case "refused":
        return {
          ok: false,
          reason: "rejected-saturated",
          detail: "",
          retryAfterMs: 1,
        };
      case "silent":
        return new Promise(() => undefined);
      case undefined:
    }
    return kept;
  }

  #grant(i: number, { request, attempt, exclude, edge }: PickRequest): HeldGrant {
    const { endpoints = ENDPOINTS } = this.pools[i]!;
    return {
      ok: true,
      ...(edge === undefined ? {} : { edge: edgeSnapshot(endpoints) }),
      ticket: `e-${request.requestId}-${attempt}`,
      endpoints: endpoints.filter((address) => !exclude.includes(address)),
      objectEpoch: "e",
      handle: {
        release: (how: WorkerRelease) => {
          this.released[i]!.push(how);
          return Promise.resolve();
        },
        learn: () => Promise.resolve(),
        settle: () => Promise.resolve(),
      },
      [Symbol.dispose]: () => {
        this.disposed[i]! += 1;
      },
    } as HeldGrant;
  }
}
