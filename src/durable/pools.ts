// The way to a pool's object from another process, and for everything but picks also from the same:
// so objects can live in this process, on Cloudflare, or in another workerd. A Worker that has the
// objects in its own script picks from them directly (docs/decisions/014-pick-path.md).

import { WorkerEntrypoint } from "cloudflare:workers";
import { poolObject } from "../config/pool-address.ts";
import { POOL_UPGRADE_HEADER } from "./agent-connection.ts";
import type { EdgePort, EdgeSync, PickRequest, PoolObjectConfig, PoolPort } from "./contract.ts";
import type {
  DecisionPage,
  DecisionQuery,
  PoolExplanation,
  PoolState,
  QueueState,
} from "./state.ts";
import type { PoolObject } from "./pool.ts";
import type { LeadPort, ShardTold } from "./shards/contract.ts";

/** Of an address; see config/pool-address.ts. */
const AGENT_PATH = /^\/agents\/v1\/([a-z0-9-]{1,63})((?:~[0-9]{1,2})?(?:@[a-z-]{1,16})?)$/;

/** `address` is always a PoolAddress: a Worker of the release before has pools' names only, which are some. */
interface PoolsEnv {
  readonly POOL: DurableObjectNamespace<PoolObject>;
}

export class Pools extends WorkerEntrypoint<PoolsEnv> {
  /** Endpoints for a request; see PoolObject.pick. */
  pick(address: string, request: PickRequest): ReturnType<PoolPort["pick"]> {
    // The object's own answer, passed on: what is disposed at the Worker is disposed there.
    return this.#object(address).pick(request) as unknown as ReturnType<PoolPort["pick"]>;
  }

  /** What an isolate has decided alone; see EdgePort. */
  sync(address: string, sync: EdgeSync): ReturnType<EdgePort["sync"]> {
    // The object's own answer, passed on.
    return this.#object(address).sync(sync) as unknown as ReturnType<EdgePort["sync"]>;
  }

  /** See PoolPort. */
  leave(address: string, requestId: string, attempt: number): Promise<void> {
    return this.#object(address).leave(requestId, attempt);
  }

  /**
   * The directory's word: what the pool is to do from `version` on. `locationHint` says where its
   * object should be; only an object's first creation heeds it, and the directory is who creates it.
   */
  configure(
    config: PoolObjectConfig,
    version: number,
    locationHint: DurableObjectLocationHint | undefined,
    address: string = config.name,
  ): Promise<void> {
    const options = locationHint === undefined ? {} : { locationHint };
    return poolObject(this.env.POOL, address, options).configure(config, version);
  }

  /** The directory's word: the pool is no longer configured. */
  retire(address: string, version: number): Promise<void> {
    return this.#object(address).retire(version);
  }

  /** One object of a pool to the one that leads; see LeadPort. */
  tellLead(address: string, told: ShardTold): ReturnType<LeadPort["tellLead"]> {
    // The object's own answer, passed on.
    return this.#object(address).tellLead(told) as unknown as ReturnType<LeadPort["tellLead"]>;
  }

  explain(address: string, requestId: string): Promise<PoolExplanation> {
    return this.#object(address).explain(requestId);
  }

  /** A page of recorded decisions. */
  decisions(address: string, query: DecisionQuery): Promise<DecisionPage> {
    return this.#object(address).decisions(query);
  }

  /** Prometheus text of the pool's object. */
  metrics(address: string): Promise<string> {
    return this.#object(address).metrics();
  }

  state(address: string): Promise<PoolState> {
    return this.#object(address).state();
  }

  /** What waits; null while the configuration has no flow control. */
  queueState(address: string): Promise<QueueState | null> {
    return this.#object(address).queueState();
  }

  /**
   * An agent's WebSocket upgrade, `/agents/v1/<pool>`, which the Worker has authenticated. Nothing
   * of the client's request but the upgrade reaches the object.
   */
  override async fetch(request: Request): Promise<Response> {
    const [, pool, rest = ""] = AGENT_PATH.exec(new URL(request.url).pathname) ?? [];
    if (pool === undefined) return new Response("not a pool's path\n", { status: 404 });
    if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
      return new Response("expected a WebSocket upgrade\n", {
        status: 426,
        headers: { upgrade: "websocket" },
      });
    }
    return this.#object(pool + rest).fetch(`https://pool.invalid/agents/v1/${pool}`, {
      headers: { upgrade: "websocket", [POOL_UPGRADE_HEADER]: pool },
    });
  }

  #object(address: string): DurableObjectStub<PoolObject> {
    return poolObject(this.env.POOL, address);
  }
}
