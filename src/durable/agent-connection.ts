// The sockets of a pool's agents, and the only place where wire types become domain types.
//
// Sockets hibernate: they outlive the object's memory. What must outlive it with them (who the agent
// is) is in the socket's attachment. An object that wakes greets every surviving socket with a new
// `welcome`; its new objectEpoch tells the agent to send everything again.
//
// Agents authenticate to the Worker, before the upgrade comes here.

import type { ScrapeStatus } from "../agents/protocol/codec.ts";
import { PROTOCOL_LIMITS } from "../agents/protocol/limits.ts";
import type {
  EndpointRecord,
  FromObject,
  Hello,
  MetricField,
  TicketReport,
} from "../agents/protocol/messages.ts";
import { PROTOCOL_VERSION, PROTOCOL_VERSION_MIN } from "../agents/protocol/version.ts";
import type { Clock } from "../scheduler/support/clock.ts";
import { METRIC } from "../telemetry/names.ts";
import type { MetricRegistry } from "../telemetry/metrics.ts";
import { AgentFrames, type CompleteRow, parseHello } from "./agent-frames.ts";
import type { AgentState, PoolObjectConfig } from "./contract.ts";
import { ENGINE_METRICS } from "./engine-metrics.ts";
import type { Scrape } from "./endpoints.ts";
import type { AckedAgent } from "./pool-storage.ts";

/** Names the pool on an upgrade. Only the Pools entrypoint sets it; without it none is accepted. */
export const POOL_UPGRADE_HEADER = "x-fairlead-pool-upgrade";

/** Sockets of one pool, greeted or not. */
export const AGENT_SOCKETS_MAX = 64;
/** How long a socket may stay without a hello. */
export const HELLO_DEADLINE_MS = 10_000;

/** Close codes: RFC 6455's, and one of ours. */
const CLOSE = {
  protocolError: 1008,
  tooLarge: 1009,
  tryAgainLater: 1013,
  replaced: 4001,
} as const;

/** The domain's side of the sockets. */
export interface AgentEvents {
  /** Undefined while the pool is not configured: nobody is welcome then. */
  config(): PoolObjectConfig | undefined;
  ackedSeq(agent: string, epoch: string): number;
  collectorConnected(agent: string): void;
  collectorDisconnected(agent: string): void;
  /** False if the pool has too many collectors. */
  claimed(agent: string, endpoints: readonly EndpointRecord[]): boolean;
  scraped(address: string, scrape: Scrape): void;
  reported(report: TicketReport): void;
  /** Something has to be done at the next tick: an ack is due, a socket has not said hello. */
  tickNeeded(): void;
}

export interface AgentConnectionsOptions {
  readonly ctx: DurableObjectState;
  readonly objectEpoch: string;
  readonly clock: Clock;
  readonly registry: MetricRegistry;
  readonly events: AgentEvents;
}

/** What outlives the object's memory with the socket. */
interface Attachment {
  readonly acceptedAtMs: number;
  readonly hello: Hello | null;
}

interface Connection {
  readonly socket: WebSocket;
  readonly acceptedAtMs: number;
  hello: Hello | null;
  readonly frames: AgentFrames;
  /** Highest TICKETS frame applied, and acknowledged. */
  appliedSeq: number;
  ackedSeq: number;
}

const SCRAPE_OUTCOMES = {
  0: "ok",
  1: "unreachable",
  2: "malformed",
} as const satisfies Record<ScrapeStatus, Scrape["outcome"]>;

const SAMPLE_FIELDS = {
  waiting: "waiting",
  running: "running",
  "kv-usage": "kvUsage",
  "kv-block-size": "kvBlockSize",
  "kv-blocks": "kvBlocks",
} as const satisfies Record<MetricField, keyof Scrape["sample"]>;

export class AgentConnections {
  readonly #options: AgentConnectionsOptions;
  readonly #connections = new Map<WebSocket, Connection>();

  constructor(options: AgentConnectionsOptions) {
    this.#options = options;
    for (const socket of options.ctx.getWebSockets()) this.#restore(socket);
  }

  /** Accepts an upgrade that the Worker has authenticated. */
  accept(): Response {
    if (this.#connections.size >= AGENT_SOCKETS_MAX) {
      return new Response(`the pool has ${AGENT_SOCKETS_MAX} agents, its maximum\n`, {
        status: 503,
        headers: { "retry-after": "5" },
      });
    }
    const { 0: client, 1: server } = new WebSocketPair();
    this.#options.ctx.acceptWebSocket(server);
    const acceptedAtMs = this.#options.clock();
    this.#track(server, { acceptedAtMs, hello: null });
    server.serializeAttachment({ acceptedAtMs, hello: null } satisfies Attachment);
    this.#options.events.tickNeeded();
    return new Response(null, { status: 101, webSocket: client });
  }

  received(socket: WebSocket, message: string | ArrayBuffer): void {
    const connection = this.#connections.get(socket);
    // Already closed by this side; what was under way then is not wanted any more.
    if (connection === undefined) return;
    if (typeof message === "string") this.#receiveText(connection, message);
    else this.#receiveFrame(connection, new Uint8Array(message));
  }

  closed(socket: WebSocket): void {
    const connection = this.#connections.get(socket);
    if (connection !== undefined) this.#drop(connection);
  }

  /** Tells collectors what to read now. */
  configure(): void {
    for (const connection of this.#connections.values()) {
      if (connection.hello !== null) this.#sendConfigure(connection);
    }
  }

  /** Ends every connection: the pool is no longer configured. */
  closeAll(): void {
    for (const connection of this.#connections.values()) {
      this.#end(connection, CLOSE.tryAgainLater, "the pool is not configured");
    }
  }

  /** Ends connections that never said hello. */
  closeSilent(): void {
    const latestMs = this.#options.clock() - HELLO_DEADLINE_MS;
    for (const connection of this.#connections.values()) {
      if (connection.hello === null && connection.acceptedAtMs <= latestMs) {
        this.#refuse(connection, "bad-hello", `no hello within ${HELLO_DEADLINE_MS} ms`);
      }
    }
  }

  /** Whether a socket has still to say hello or an ack is due. */
  get needsTick(): boolean {
    for (const { hello, appliedSeq, ackedSeq } of this.#connections.values()) {
      if (hello === null || appliedSeq > ackedSeq) return true;
    }
    return false;
  }

  /** What has been applied and not acknowledged. */
  unacked(): AckedAgent[] {
    return [...this.#connections.values()]
      .filter(({ hello, appliedSeq, ackedSeq }) => hello !== null && appliedSeq > ackedSeq)
      .map(({ hello, appliedSeq }) => ({
        agent: hello!.agent,
        epoch: hello!.epoch,
        seq: appliedSeq,
      }));
  }

  /** Acknowledges all that was applied. The runtime holds the message until writes are durable. */
  ack(): void {
    for (const connection of this.#connections.values()) {
      if (connection.appliedSeq <= connection.ackedSeq) continue;
      connection.ackedSeq = connection.appliedSeq;
      this.#send(connection, { t: "ack", seq: connection.ackedSeq });
    }
  }

  agents(): AgentState[] {
    return [...this.#connections.values()].flatMap(({ hello, acceptedAtMs }) =>
      hello === null ? [] : [{ agent: hello.agent, role: hello.role, connectedAtMs: acceptedAtMs }],
    );
  }

  /** A socket that was open when the object lost its memory. */
  #restore(socket: WebSocket): void {
    const attachment = socket.deserializeAttachment() as Attachment;
    const connection = this.#track(socket, attachment);
    if (connection.hello !== null) this.#welcome(connection, connection.hello);
  }

  #track(socket: WebSocket, attachment: Attachment): Connection {
    const connection: Connection = {
      socket,
      ...attachment,
      frames: new AgentFrames(),
      appliedSeq: 0,
      ackedSeq: 0,
    };
    this.#connections.set(socket, connection);
    return connection;
  }

  #receiveText(connection: Connection, text: string): void {
    // UTF-16 units: a lower bound of the bytes, and cheap.
    if (text.length > PROTOCOL_LIMITS.controlBytesMax) {
      const limit = PROTOCOL_LIMITS.controlBytesMax;
      return this.#end(connection, CLOSE.tooLarge, `over ${limit} bytes of JSON`);
    }
    if (connection.hello !== null) {
      return this.#refuse(connection, "protocol-error", "one hello is enough");
    }
    const config = this.#options.events.config();
    if (config === undefined) {
      return this.#end(connection, CLOSE.tryAgainLater, "the pool is not configured");
    }
    const parsed = parseHello(text, `versions ${PROTOCOL_VERSION_MIN} to ${PROTOCOL_VERSION}`);
    if (!parsed.ok) return this.#refuse(connection, parsed.code, parsed.message);
    const { hello } = parsed;
    if (hello.pool !== config.name) {
      return this.#refuse(connection, "wrong-pool", `this is pool ${config.name}`);
    }
    this.#replaceEarlier(hello);
    connection.hello = hello;
    const { socket, acceptedAtMs } = connection;
    socket.serializeAttachment({ acceptedAtMs, hello } satisfies Attachment);
    this.#welcome(connection, hello);
  }

  /** An agent that dials again has lost its earlier connection, though this side may not know yet. */
  #replaceEarlier(hello: Hello): void {
    for (const other of this.#connections.values()) {
      if (other.hello?.agent === hello.agent && other.hello.role === hello.role) {
        this.#end(other, CLOSE.replaced, "replaced by a newer connection of the same agent");
      }
    }
  }

  #welcome(connection: Connection, hello: Hello): void {
    const { events, objectEpoch } = this.#options;
    const ackedSeq = events.ackedSeq(hello.agent, hello.epoch);
    this.#send(connection, { t: "welcome", v: PROTOCOL_VERSION, objectEpoch, ackedSeq });
    this.#sendConfigure(connection);
    if (hello.role === "collector") events.collectorConnected(hello.agent);
  }

  #sendConfigure(connection: Connection): void {
    const config = this.#options.events.config();
    if (config === undefined) return;
    this.#send(connection, {
      t: "configure",
      scrapeIntervalMs: config.scrapeIntervalMs,
      metrics: [...ENGINE_METRICS],
    });
  }

  #receiveFrame(connection: Connection, bytes: Uint8Array): void {
    const count = (outcome: string) =>
      this.#options.registry.inc(METRIC.agentFramesTotal, { outcome });
    if (bytes.byteLength > PROTOCOL_LIMITS.frameBytesMax) {
      count("too-long");
      const limit = PROTOCOL_LIMITS.frameBytesMax;
      return this.#end(connection, CLOSE.tooLarge, `a frame over ${limit} bytes`);
    }
    if (connection.hello === null) {
      count("before-hello");
      return this.#refuse(connection, "bad-hello", "a frame before the hello");
    }
    const decoded = connection.frames.decode(bytes);
    if (!decoded.ok) {
      count(decoded.error);
      return this.#refuse(connection, "protocol-error", `a frame is ${decoded.error}`);
    }
    count(decoded.frame.kind === "ignored" ? decoded.frame.why : "ok");
    if (decoded.isAfterGap) this.#send(connection, { t: "resync", reason: "gap" });
    switch (decoded.frame.kind) {
      case "membership":
        return this.#claim(connection, connection.hello, decoded.frame.endpoints);
      case "metrics":
        return this.#apply(decoded.frame.rows);
      case "tickets":
        for (const report of decoded.frame.reports) this.#options.events.reported(report);
        connection.appliedSeq = decoded.frame.seq;
        return this.#options.events.tickNeeded();
      case "ignored":
        return;
    }
  }

  #claim(connection: Connection, hello: Hello, endpoints: readonly EndpointRecord[]): void {
    if (hello.role !== "collector") {
      return this.#refuse(connection, "protocol-error", "only a collector lists endpoints");
    }
    if (!this.#options.events.claimed(hello.agent, endpoints)) {
      this.#end(connection, CLOSE.tryAgainLater, "the pool has too many collectors");
    }
  }

  #apply(rows: readonly CompleteRow[]): void {
    const nowMs = this.#options.clock();
    for (const { endpoint, row, values } of rows) {
      this.#options.events.scraped(endpoint.address, {
        outcome: SCRAPE_OUTCOMES[row.status],
        sampledAtMs: nowMs - row.ageMs,
        sample: toSample(values),
      });
    }
  }

  #send(connection: Connection, message: FromObject): void {
    try {
      connection.socket.send(JSON.stringify(message));
    } catch {
      // The socket closed a moment ago; its close event follows.
    }
  }

  #refuse(
    connection: Connection,
    code: Extract<FromObject, { t: "refused" }>["code"],
    message: string,
  ): void {
    this.#send(connection, { t: "refused", code, message });
    this.#end(connection, CLOSE.protocolError, code);
  }

  #end(connection: Connection, code: number, reason: string): void {
    this.#drop(connection);
    connection.socket.close(code, reason);
  }

  #drop(connection: Connection): void {
    this.#connections.delete(connection.socket);
    const { hello } = connection;
    if (hello?.role === "collector") this.#options.events.collectorDisconnected(hello.agent);
  }
}

/** Fields by name; what the engine did not publish is absent. */
function toSample(values: Float64Array): Scrape["sample"] {
  const sample: { -readonly [Field in keyof Scrape["sample"]]: Scrape["sample"][Field] } = {};
  ENGINE_METRICS.forEach(({ field }, i) => {
    const value = values[i]!;
    if (!Number.isNaN(value)) sample[SAMPLE_FIELDS[field]] = value;
  });
  return sample;
}
