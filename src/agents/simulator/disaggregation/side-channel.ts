// The side channel of a process of engines: what NIXL's handshake and reads are between real ones, as HTTP.
// Engines of one process use it among themselves, too, so that one way is tested by both.
//
//   POST /claim {name, blockIds?, waitMs}   200 {tokens} | 404, 408, 409, 410 {why}
//   POST /renew {name}                      200 | 410
//   POST /done  {name}                      200 | 410
//
// A bootstrap port has the same, and what SGLang and Mooncake serve there: /route, /query, /health.

import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import { z } from "zod";
import { closeServer, listen } from "../../process/listen.ts";
import { readJson, sendJson } from "../http-io.ts";
import { notFound } from "../errors.ts";
import { sendError } from "../http-io.ts";
import type { Claimed, HandOffs } from "./hand-offs.ts";

const BODY_BYTES_MAX = 4 * 1024 * 1024;
const NAME_CHARS_MAX = 1_024;
const BLOCKS_MAX = 4_194_304;
/** As the flags' longest duration. */
const WAIT_MS_MAX = 3_600_000;
const CONNECTIONS_MAX = 10_000;

const named = z.object({ name: z.string().min(1).max(NAME_CHARS_MAX) });
const claimSchema = named.extend({
  blockIds: z.array(z.int().min(0)).max(BLOCKS_MAX).optional(),
  waitMs: z.number().min(0).max(WAIT_MS_MAX),
});

const CLAIM_STATUS = {
  unknown: 404,
  late: 408,
  "other-blocks": 409,
  gone: 410,
  full: 503,
} as const satisfies Record<Exclude<Claimed, { ok: true }>["why"], number>;

/** What a bootstrap port tells of an engine. */
export interface BootstrapEngine {
  readonly engineId: string;
  readonly blockSize: number;
}

/** A listener of the process; its port stays the same while it is open. */
export class SideChannel {
  readonly #handOffs: HandOffs;
  readonly #engines: readonly BootstrapEngine[];
  readonly #server: Server;
  #port = 0;

  /** `engines`: those of a bootstrap port; none for a plain side channel. May grow. */
  constructor(handOffs: HandOffs, engines: readonly BootstrapEngine[] = []) {
    this.#handOffs = handOffs;
    this.#engines = engines;
    const serve: RequestListener = (request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    };
    this.#server = createServer(serve);
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  get port(): number {
    return this.#port;
  }

  async listen(host: string, port: number): Promise<void> {
    this.#port = await listen(this.#server, { host, port });
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    if (this.#server.listening) await closeServer(this.#server);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "/").split("?", 1)[0]!;
    if (request.method === "GET") return this.#get(path, response);
    if (request.method !== "POST") return sendError(response, notFound());
    const body = await readJson(request, response, BODY_BYTES_MAX);
    if (body === undefined) return;
    if (path === "/claim") return this.#claim(body.json, response);
    const parsed = named.safeParse(body.json);
    if (!parsed.success || (path !== "/renew" && path !== "/done")) {
      return sendError(response, notFound());
    }
    const { name } = parsed.data;
    const isHeld = path === "/renew" ? this.#handOffs.renew(name) : this.#handOffs.done(name);
    sendJson(response, isHeld ? 200 : 410, {});
  }

  async #claim(json: unknown, response: ServerResponse): Promise<void> {
    const parsed = claimSchema.safeParse(json);
    if (!parsed.success) return sendError(response, notFound());
    const { name, blockIds, waitMs } = parsed.data;
    const left = new AbortController();
    response.on("close", () => left.abort());
    const claim = { name, blockIds, waitMs, signal: left.signal };
    const claimed = await this.#handOffs.claim(claim);
    if (claimed.ok) sendJson(response, 200, { tokens: claimed.tokens });
    else sendJson(response, CLAIM_STATUS[claimed.why], { why: claimed.why });
  }

  #get(path: string, response: ServerResponse): void {
    if (this.#engines.length === 0) return sendError(response, notFound());
    if (path === "/health") return void response.end("OK");
    if (path === "/query") return sendJson(response, 200, mooncakeRanks(this.#engines));
    if (path === "/route") return sendJson(response, 200, sglangLayout(this.#engines));
    sendError(response, notFound());
  }
}

/** Mooncake's map of ranks. Legs meet by transfer id, so that it does not matter which engine is named. */
function mooncakeRanks(engines: readonly BootstrapEngine[]) {
  return Object.fromEntries(
    engines.map(({ engineId }, rank) => [String(rank), { engine_id: engineId }]),
  );
}

/** SGLang's answer about a prefill server, of the fields that others read. */
function sglangLayout(engines: readonly BootstrapEngine[]) {
  return {
    attn_tp_size: 1,
    attn_cp_size: 1,
    dp_size: 1,
    pp_size: 1,
    page_size: engines[0]!.blockSize,
    kv_cache_dtype: "auto",
    follow_bootstrap_room: true,
  };
}
