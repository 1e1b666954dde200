// One outward WebSocket from an agent to its pool's object, kept up for as long as the agent lives.
//
//   connecting ──open──► greeting ──welcome──► established
//       ▲                    │                     │
//       └──── backoff ◄──────┴── close, silence ◄──┘
//
// The hello offers the newest version. An object of the release before refuses it; the session then
// dials with the version before, and offers the newest again once that connection was lost, because
// the object may have been upgraded meanwhile.
//
// What an agent says is sequenced by (epoch, seq). The epoch is random per process; seq grows by one
// per frame and goes on across reconnects, so the object notices what was lost in between. The
// session keeps nothing it has sent: after every `welcome` and `resync` its owner says all again.

import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { WebSocket, type RawData } from "ws";
import type { MetricRegistry } from "../../telemetry/metrics.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { Logger } from "../process/logger.ts";
import type { FramePlace } from "../protocol/codec.ts";
import { PROTOCOL_LIMITS } from "../protocol/limits.ts";
import {
  fromObjectSchema,
  type Configure,
  type Evict,
  type FromObject,
  type Hello,
  type KvMessage,
} from "../protocol/messages.ts";
import { PROTOCOL_VERSION, PROTOCOL_VERSION_MIN } from "../protocol/version.ts";
import { backoffMs } from "./backoff.ts";

/** Bytes that may wait in the socket; past it, frames are refused until the peer has read. */
export const SEND_BUFFER_BYTES_MAX = 2 * 1024 * 1024;

/** How long the peer may take to answer a close. */
const CLOSE_MS_MAX = 1_000;

/** Intervals of a session, in ms. Tests shorten them. */
export interface SessionTiming {
  /** Backoff after a lost or failed connection. */
  readonly retryBaseMs: number;
  readonly retryCapMs: number;
  /** Backoff after a refusal that only an operator can cure: wrong token, unknown pool. */
  readonly refusedRetryMs: number;
  /** Between connecting and `welcome`. */
  readonly handshakeMs: number;
  readonly pingMs: number;
  /** Silence after which the peer counts as dead. */
  readonly deadMs: number;
  /** Only a connection that lasted this long resets the backoff. */
  readonly stableMs: number;
}

const TIMING: SessionTiming = {
  retryBaseMs: 250,
  // An object that restarts wants its agents back within three seconds; a pool has few of them.
  retryCapMs: 1_500,
  refusedRetryMs: 30_000,
  handshakeMs: 5_000,
  pingMs: 5_000,
  deadMs: 15_000,
  stableMs: 5_000,
};

/** What the object holds durably of this epoch. */
export interface Acknowledged {
  /** Highest frame, as version 1 counts. */
  readonly seq: number;
  /** Highest report, as later versions count; undefined in version 1. */
  readonly report: number | undefined;
}

/** What the owner of a session is told. Calls never overlap. */
export interface SessionEvents {
  /** The object forgot or never knew: send everything again. Follows every `welcome`, too. */
  onResync(): void;
  /** Welcomed, for the first time or again: before `onResync`, and a `configure` follows. */
  onWelcome?(): void;
  onAck(acknowledged: Acknowledged): void;
  onConfigure?(configure: Configure): void;
  /** Relays only. */
  onEvict?(evict: Evict): void;
  /** Collectors only. */
  onKv?(message: KvMessage): void;
}

export interface SessionOptions {
  readonly role: Hello["role"];
  readonly pool: string;
  /** Which of the pool's objects; its first one if absent. */
  readonly shard?: number;
  readonly agent: string;
  /** Fairlead's base URL, http(s) or ws(s). */
  readonly connect: URL;
  readonly token: string;
  readonly logger: Logger;
  readonly registry: MetricRegistry;
  readonly events: SessionEvents;
  readonly timing?: Partial<SessionTiming> | undefined;
}

export class PoolSession {
  readonly #options: SessionOptions;
  readonly #timing: SessionTiming;
  readonly #url: URL;
  readonly #epoch = randomBytes(12).toString("hex");
  #socket: WebSocket | undefined;
  #isEstablished = false;
  #isClosed = false;
  #seq = 0;
  /** What the next hello offers, or the current one has offered. */
  #offered = PROTOCOL_VERSION;
  /** What the welcome agreed to; 0 before it. */
  #version = 0;
  #attempt = 0;
  #heardAtMs = 0;
  /** When the connection was established, for `stableMs`. */
  #establishedAtMs = 0;
  /** Set while the current connection's end has another pace than the usual backoff. */
  #isRefused = false;
  /** What the current connection failed of, for the log. */
  #problem: string | undefined;
  #retry: NodeJS.Timeout | undefined;
  #handshake: NodeJS.Timeout | undefined;
  #ping: NodeJS.Timeout | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#timing = { ...TIMING, ...options.timing };
    this.#url = sessionUrl(options.connect, options.pool, options.shard);
    this.#connect();
  }

  /** The object has accepted this agent and frames can be sent. */
  get isEstablished(): boolean {
    return this.#isEstablished;
  }

  /** The version frames are written in; 0 while the session is down. */
  get version(): number {
    return this.#isEstablished ? this.#version : 0;
  }

  /** The sequence number `send` will use next. */
  get nextSeq(): number {
    return this.#seq + 1;
  }

  /**
   * Sends the frame that `encode` makes for the place it is given. False, without calling it, when
   * the session is down or its buffer full: nothing was sent and no number used.
   */
  send(encode: (place: FramePlace) => Uint8Array): boolean {
    const socket = this.#socket;
    if (!this.#isEstablished || socket?.readyState !== WebSocket.OPEN) return false;
    if (socket.bufferedAmount > SEND_BUFFER_BYTES_MAX) return false;
    this.#seq += 1;
    socket.send(encode({ version: this.#version, seq: this.#seq }));
    return true;
  }

  /** Ends the session for good, after what was sent has left. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    const socket = this.#socket;
    if (socket === undefined || socket.readyState === WebSocket.CLOSED) return;
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    const overdue = setTimeout(() => socket.terminate(), CLOSE_MS_MAX);
    if (socket.readyState === WebSocket.CONNECTING) socket.terminate();
    else socket.close(1000, "agent stopping");
    await closed;
    clearTimeout(overdue);
  }

  #connect(): void {
    const socket = new WebSocket(this.#url, {
      headers: { authorization: `Bearer ${this.#options.token}` },
      handshakeTimeout: this.#timing.handshakeMs,
      maxPayload: PROTOCOL_LIMITS.controlBytesMax,
      perMessageDeflate: false,
    });
    this.#socket = socket;
    this.#isRefused = false;
    this.#problem = undefined;
    socket.on("open", () => this.#greet(socket));
    socket.on("message", (data, isBinary) => this.#receive(data, isBinary));
    socket.on("pong", () => (this.#heardAtMs = performance.now()));
    socket.on("unexpected-response", (_request, response) => this.#refusedByHttp(socket, response));
    socket.on("error", (error) => (this.#problem = error.message));
    socket.on("close", (code) => this.#closed(code));
  }

  #greet(socket: WebSocket): void {
    const { role, pool, agent, shard = 0 } = this.#options;
    const hello: Hello = { t: "hello", v: this.#offered, role, pool, agent, epoch: this.#epoch };
    socket.send(JSON.stringify(shard === 0 ? hello : { ...hello, shard }));
    this.#heardAtMs = performance.now();
    this.#handshake = setTimeout(() => {
      this.#options.logger.warn("the object did not answer the hello");
      socket.terminate();
    }, this.#timing.handshakeMs);
    this.#ping = setInterval(() => {
      const silentMs = performance.now() - this.#heardAtMs;
      if (silentMs > this.#timing.deadMs) {
        this.#options.logger.warn({ silentMs }, "the object fell silent");
        socket.terminate();
      } else {
        socket.ping();
      }
    }, this.#timing.pingMs);
  }

  #receive(data: RawData, isBinary: boolean): void {
    this.#heardAtMs = performance.now();
    const message = isBinary ? undefined : parseMessage(data);
    if (message === undefined) {
      // A newer object may say what this agent does not know yet.
      this.#options.logger.warn("ignored a message that this version does not understand");
      return;
    }
    const { events, logger } = this.#options;
    switch (message.t) {
      case "welcome":
        this.#welcomed(message);
        break;
      case "configure":
        events.onConfigure?.(message);
        break;
      case "evict":
        events.onEvict?.(message);
        break;
      case "kv-send":
      case "kv-stop":
      case "kv-credit":
        events.onKv?.(message);
        break;
      case "ack":
        events.onAck({ seq: message.seq, report: message.report });
        break;
      case "resync":
        logger.info({ reason: message.reason }, "the object asks for everything again");
        events.onResync();
        break;
      case "refused":
        this.#refused(message);
        break;
    }
  }

  #welcomed(message: Extract<FromObject, { t: "welcome" }>): void {
    const { events, logger } = this.#options;
    const { v: version, objectEpoch, ackedSeq, ackedReport } = message;
    clearTimeout(this.#handshake);
    if (version < PROTOCOL_VERSION_MIN || version > this.#offered) {
      this.#isRefused = true;
      logger.error({ offered: this.#offered, version }, "the object welcomed another version");
      this.#socket?.terminate();
      return;
    }
    this.#version = version;
    this.#isEstablished = true;
    this.#establishedAtMs = performance.now();
    logger.info({ objectEpoch, version }, "session established");
    events.onAck({ seq: ackedSeq, report: ackedReport });
    events.onWelcome?.();
    events.onResync();
  }

  #refused({ code, message: detail }: Extract<FromObject, { t: "refused" }>): void {
    const { logger } = this.#options;
    if (code === "unsupported-version" && this.#offered > PROTOCOL_VERSION_MIN) {
      logger.warn({ offered: this.#offered, detail }, "the object is older: offering less");
      this.#offered -= 1;
      return;
    }
    // A version, a name or a pool that does not fit stays so until somebody changes it.
    this.#isRefused = code !== "protocol-error";
    if (code === "unsupported-version") this.#offered = PROTOCOL_VERSION;
    logger.error({ code, detail }, "refused by the object");
  }

  #refusedByHttp(socket: WebSocket, response: IncomingMessage): void {
    const status = response.statusCode ?? 0;
    const { logger, pool } = this.#options;
    this.#isRefused = status === 401 || status === 403 || status === 404;
    const sentence =
      status === 401 || status === 403
        ? "the agent token was not accepted: FAIRLEAD_AGENT_TOKEN must be the pool's agentToken"
        : status === 404
          ? "no such pool at this address: check --pool and --connect"
          : "could not connect";
    logger.error({ status, pool, origin: this.#url.origin }, sentence);
    response.resume();
    socket.terminate();
  }

  #closed(code: number): void {
    clearTimeout(this.#handshake);
    clearInterval(this.#ping);
    const { logger, registry, role } = this.#options;
    const wasStable =
      this.#isEstablished && performance.now() - this.#establishedAtMs >= this.#timing.stableMs;
    if (this.#isEstablished) this.#offered = PROTOCOL_VERSION;
    this.#isEstablished = false;
    this.#socket = undefined;
    if (this.#isClosed) return;
    registry.inc(METRIC.agentReconnectsTotal, { role });
    if (wasStable) this.#attempt = 0;
    const { retryBaseMs: baseMs, retryCapMs: capMs, refusedRetryMs } = this.#timing;
    // Half of the slow pace is fixed, so that a wrong token never becomes a busy loop.
    const retryMs = this.#isRefused
      ? refusedRetryMs * (0.5 + Math.random() / 2)
      : backoffMs({ baseMs, capMs }, this.#attempt, Math.random);
    const problem = this.#problem;
    const attempt = this.#attempt++;
    const facts = { code, problem, attempt, retryMs: Math.round(retryMs) };
    logger.info(facts, "not connected, will retry");
    this.#retry = setTimeout(() => this.#connect(), retryMs);
  }
}

/** `<base>/agents/v1/<pool>` with a WebSocket scheme. Workers of before know no shards, nor pools with several. */
function sessionUrl(base: URL, pool: string, shard = 0): URL {
  const url = new URL(base);
  url.protocol = url.protocol === "https:" || url.protocol === "wss:" ? "wss:" : "ws:";
  url.pathname = `${url.pathname.replace(/\/$/, "")}/agents/v1/${encodeURIComponent(pool)}`;
  url.search = shard === 0 ? "" : `?shard=${shard}`;
  url.hash = "";
  return url;
}

/** The message, or undefined if it is malformed or of an unknown kind. */
function parseMessage(data: RawData): FromObject | undefined {
  if (!Buffer.isBuffer(data)) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(data.toString("utf8"));
  } catch {
    // Not JSON.
    return undefined;
  }
  return fromObjectSchema.safeParse(value).data;
}
