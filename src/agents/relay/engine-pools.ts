// HTTP connections to the engines, one pool an endpoint, for the endpoints discovered right now.

import { Pool } from "undici";
import type { EndpointRecord } from "../protocol/messages.ts";
import { READ_BUFFER_BYTES } from "./engine-answer.ts";
import { connectOptions, ENGINE_TLS_DEFAULTS, engineOrigin, type EngineTls } from "./engine-tls.ts";

/** Below the 5 s after which uvicorn (vLLM, SGLang) closes an idle connection. */
const KEEP_ALIVE_MS = 4_000;
export const CONNECT_TIMEOUT_MS = 2_000;
/** An answer that is not streamed sends its head only when it is complete, so this is long. */
const HEADERS_TIMEOUT_MS = 600_000;
/** Silence inside an answer; an engine under load still sends a token now and then. */
const BODY_TIMEOUT_MS = 300_000;
/**
 * More requests than this to one engine wait for a connection. Engines run hundreds at a time; what waits beyond
 * that should wait in the engine, which counts it, and not unseen in here.
 */
const CONNECTIONS_PER_ENDPOINT_MAX = 4_096;
/** undici hands them on to the socket, though its types do not say so. */
const SOCKET_OPTIONS = { highWaterMark: READ_BUFFER_BYTES };

export interface EnginePool {
  readonly address: string;
  /** As it was discovered last. */
  endpoint: EndpointRecord;
  /** Scheme, host and port. */
  readonly origin: string;
  readonly dispatcher: Pool;
  /** It answered before, so an idle connection may have been closed by the engine meanwhile. */
  hasAnswered: boolean;
}

/** The pools by address. Bounded by the endpoints file. */
export class EnginePools {
  readonly #pools = new Map<string, EnginePool>();
  readonly #tls: EngineTls;

  constructor(tls: EngineTls = ENGINE_TLS_DEFAULTS) {
    this.#tls = tls;
  }

  /** Opens and closes pools to match `endpoints`. Requests under way at a leaving one go on. */
  update(endpoints: readonly EndpointRecord[]): void {
    const known = new Map(endpoints.map((endpoint) => [endpoint.address, endpoint]));
    for (const [address, pool] of this.#pools) {
      const endpoint = known.get(address);
      if (endpoint !== undefined && engineOrigin(this.#tls, endpoint) === pool.origin) continue;
      this.#pools.delete(address);
      // Rejects only if the pool was destroyed meanwhile.
      pool.dispatcher.close().catch(() => undefined);
    }
    for (const endpoint of endpoints) {
      const pool = this.#pools.get(endpoint.address);
      if (pool === undefined) this.#pools.set(endpoint.address, openPool(endpoint, this.#tls));
      else pool.endpoint = endpoint;
    }
  }

  /** The pool of an endpoint discovered here; undefined for any other address. */
  get(address: string): EnginePool | undefined {
    return this.#pools.get(address);
  }

  /** Ends every connection at once. */
  async destroy(): Promise<void> {
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    await Promise.all(pools.map((pool) => pool.dispatcher.destroy()));
  }
}

function openPool(endpoint: EndpointRecord, tls: EngineTls): EnginePool {
  const { address } = endpoint;
  const origin = engineOrigin(tls, endpoint);
  const dispatcher = new Pool(origin, {
    connect: { ...SOCKET_OPTIONS, ...connectOptions(tls) },
    allowH2: false,
    connections: CONNECTIONS_PER_ENDPOINT_MAX,
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    // An engine may ask for less, never for more.
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    headersTimeout: HEADERS_TIMEOUT_MS,
    bodyTimeout: BODY_TIMEOUT_MS,
    pipelining: 1,
  });
  return { address, endpoint, origin, dispatcher, hasAnswered: false };
}
