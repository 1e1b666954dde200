// The way to a pool's object from another process, and for everything but picks also from the same:
// so objects can live in this process, on Cloudflare, or in another workerd. A Worker that has the
// objects in its own script picks from them directly (docs/decisions/014-pick-path.md).

import { WorkerEntrypoint } from "cloudflare:workers";
import { POOL_UPGRADE_HEADER } from "./agent-connection.ts";
import type {
  PickRequest,
  PoolPort,
  DecisionPage,
  DecisionQuery,
  PoolExplanation,
  PoolObjectConfig,
  PoolState,
  QueueState,
} from "./contract.ts";
import type { PoolObject } from "./pool.ts";

const AGENT_PATH = /^\/agents\/v1\/([a-z0-9-]{1,63})$/;

interface PoolsEnv {
  readonly POOL: DurableObjectNamespace<PoolObject>;
}

export class Pools extends WorkerEntrypoint<PoolsEnv> {
  /** Endpoints for a request; see PoolObject.pick. */
  pick(pool: string, request: PickRequest): ReturnType<PoolPort["pick"]> {
    // The object's own answer, passed on: what is disposed at the Worker is disposed there.
    return this.#object(pool).pick(request) as unknown as ReturnType<PoolPort["pick"]>;
  }

  /** See PoolPort. */
  leave(pool: string, requestId: string, attempt: number): Promise<void> {
    return this.#object(pool).leave(requestId, attempt);
  }

  /**
   * The directory's word: what the pool is to do from `version` on. `locationHint` says where its
   * object should be; only an object's first creation heeds it, and the directory is who creates it.
   */
  configure(
    config: PoolObjectConfig,
    version: number,
    locationHint: DurableObjectLocationHint | undefined,
  ): Promise<void> {
    return this.#object(config.name, locationHint).configure(config, version);
  }

  /** The directory's word: the pool is no longer configured. */
  retire(pool: string, version: number): Promise<void> {
    return this.#object(pool).retire(version);
  }

  explain(pool: string, requestId: string): Promise<PoolExplanation> {
    return this.#object(pool).explain(requestId);
  }

  /** A page of recorded decisions. */
  decisions(pool: string, query: DecisionQuery): Promise<DecisionPage> {
    return this.#object(pool).decisions(query);
  }

  /** Prometheus text of the pool's object. */
  metrics(pool: string): Promise<string> {
    return this.#object(pool).metrics();
  }

  state(pool: string): Promise<PoolState> {
    return this.#object(pool).state();
  }

  /** What waits; null while the configuration has no flow control. */
  queueState(pool: string): Promise<QueueState | null> {
    return this.#object(pool).queueState();
  }

  /**
   * An agent's WebSocket upgrade, `/agents/v1/<pool>`, which the Worker has authenticated. Nothing
   * of the client's request but the upgrade reaches the object.
   */
  override async fetch(request: Request): Promise<Response> {
    const pool = AGENT_PATH.exec(new URL(request.url).pathname)?.[1];
    if (pool === undefined) return new Response("not a pool's path\n", { status: 404 });
    if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
      return new Response("expected a WebSocket upgrade\n", {
        status: 426,
        headers: { upgrade: "websocket" },
      });
    }
    return this.#object(pool).fetch(`https://pool.invalid/agents/v1/${pool}`, {
      headers: { upgrade: "websocket", [POOL_UPGRADE_HEADER]: pool },
    });
  }

  #object(pool: string, locationHint?: DurableObjectLocationHint): DurableObjectStub<PoolObject> {
    return this.env.POOL.getByName(pool, locationHint === undefined ? {} : { locationHint });
  }
}
