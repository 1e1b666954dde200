// The sockets of a pool's agents: who they are, and whether what they say is in order.
//
//   socket ──bytes──► AgentFrames ──frame──► who may tell it, which event it is: told-frames.ts ──► AgentEvents
//                                                     what agents are told: agent-messages.ts
//
// Sockets hibernate: they outlive the object's memory. What must outlive it with them (who the agent
// is) is in the socket's attachment. An object that wakes greets every surviving socket with a new
// `welcome`; its new objectEpoch tells the agent to send everything again.
//
// Agents authenticate to the Worker, before the upgrade comes here.

import { PROTOCOL_LIMITS } from "../agents/protocol/limits.ts";
import type { Evict, FromObject, Hello, KvMessage } from "../agents/protocol/messages.ts";
import { PROTOCOL_VERSION, PROTOCOL_VERSION_MIN } from "../agents/protocol/version.ts";
import type { Clock } from "../scheduler/support/clock.ts";
import { METRIC } from "../telemetry/names.ts";
import type { MetricRegistry } from "../telemetry/metrics.ts";
import type { AgentEvents } from "./agent-events.ts";
import { AgentFrames, parseHello, type TicketsFrame } from "./agent-frames.ts";
import { ackOf, canEvict, configureOf, welcomeOf } from "./agent-messages.ts";
import { AppliedReports } from "./tickets/applied-reports.ts";
import type { AgentState } from "./state.ts";
import type { AckedAgent } from "./pool-storage.ts";
import type { RelayLife } from "./tickets/ticket.ts";
import { notAllowed, ToldFrames } from "./told-frames.ts";

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
  /** Of the hello's version; the newest before it. */
  frames: AgentFrames;
  /** The last TICKETS frame that was applied. */
  appliedSeq: number;
  isAckDue: boolean;
  /** The agent was asked to send everything again, and what it sends has not come yet. */
  isResyncAsked: boolean;
}

export class AgentConnections {
  readonly #options: AgentConnectionsOptions;
  readonly #connections = new Map<WebSocket, Connection>();
  readonly #reports: AppliedReports;
  readonly #told: ToldFrames;

  constructor(options: AgentConnectionsOptions) {
    this.#options = options;
    this.#reports = new AppliedReports((reporter) => options.events.acked(reporter));
    this.#told = new ToldFrames(options.events, options.clock);
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

  /** Tells collectors what to read now, and relays what to tell. */
  configure(): void {
    for (const connection of this.#connections.values()) {
      if (connection.hello !== null) this.#sendConfigure(connection, connection.hello);
    }
  }

  /**
   * Asks to end a request, unless its answer has begun: of `relay`, if it is known to have the ticket
   * and is connected, and else of all relays; those that have not got it yet refuse it when it comes.
   * The end is told as any other, by a report or by the Worker's handle; a beginning by `started`.
   * It may be lost with a connection, and relays of before ignore it. Returns how many were asked.
   */
  evict(victim: Omit<Evict, "t">, relay?: RelayLife): number {
    const relays = [...this.#connections.values()].filter(
      ({ hello }) => hello !== null && canEvict(hello),
    );
    const holder = relays.filter(
      ({ hello }) => hello!.agent === relay?.agent && hello!.epoch === relay.epoch,
    );
    const asked = holder.length > 0 ? holder : relays;
    for (const connection of asked) this.#send(connection, { t: "evict", ...victim });
    return asked.length;
  }

  /** To a collector, if it is connected. */
  tellCollector(agent: string, message: KvMessage): void {
    for (const connection of this.#connections.values()) {
      const { hello } = connection;
      if (hello?.role === "collector" && hello.agent === agent) this.#send(connection, message);
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
    for (const { hello, isAckDue } of this.#connections.values()) {
      if (hello === null || isAckDue) return true;
    }
    return !this.#reports.isSaved;
  }

  /** What has been applied and is not durable yet, also of relays that have left meanwhile. */
  unsaved(): AckedAgent[] {
    return this.#reports.unsaved();
  }

  /**
   * Acknowledges all that was applied: the caller has just written it. The runtime holds the
   * messages until the write is durable.
   */
  saved(): void {
    this.#reports.saved();
    for (const connection of this.#connections.values()) {
      if (!connection.isAckDue || connection.hello === null) continue;
      connection.isAckDue = false;
      const report = this.#reports.applied(connection.hello);
      this.#send(connection, ackOf(connection.hello, { seq: connection.appliedSeq, report }));
    }
  }

  /** Agents that have said hello. */
  get count(): number {
    let count = 0;
    for (const { hello } of this.#connections.values()) if (hello !== null) count++;
    return count;
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
      frames: new AgentFrames(attachment.hello?.v ?? PROTOCOL_VERSION),
      appliedSeq: 0,
      isAckDue: false,
      isResyncAsked: false,
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
    const index = config.shard?.index ?? 0;
    if ((hello.shard ?? 0) !== index) {
      return this.#refuse(connection, "wrong-pool", `this is object ${index} of ${config.name}`);
    }
    this.#replaceEarlier(hello);
    connection.hello = hello;
    connection.frames = new AgentFrames(hello.v);
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
    this.#send(connection, welcomeOf(hello, objectEpoch, events.acked(hello)));
    connection.isResyncAsked = true;
    this.#sendConfigure(connection, hello);
    if (hello.role === "collector") events.collectorConnected(hello.agent);
    else events.relayConnected(hello);
  }

  #sendConfigure(connection: Connection, hello: Hello): void {
    const { events } = this.#options;
    const config = events.config();
    if (config !== undefined) this.#send(connection, configureOf(hello, config, events));
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
    const { hello } = connection;
    if (hello.role === "collector") this.#options.events.collectorHeard(hello.agent);
    if (decoded.isAfterGap) this.#missed(connection, hello);
    const { frame } = decoded;
    if (frame.kind === "ignored") return;
    const why = notAllowed(hello, frame);
    if (why !== undefined) return this.#refuse(connection, "protocol-error", why);
    if (frame.kind === "tickets") return this.#report(connection, hello, frame);
    const source = { agent: hello.agent, seq: connection.frames.lastSeq, bytes: bytes.byteLength };
    if (!this.#told.tell(source, frame))
      this.#end(connection, CLOSE.tryAgainLater, "the pool has too many collectors");
  }

  #missed(connection: Connection, { role, agent }: Hello): void {
    this.#askResync(connection);
    if (role === "collector") this.#options.events.kvLost(agent, connection.frames.lastSeq);
  }

  #report(connection: Connection, hello: Hello, frame: TicketsFrame): void {
    const { reports, numbers, seq } = frame;
    const judged =
      numbers === null
        ? this.#reports.takeFrame(hello, seq)
        : this.#reports.take(hello, seq, { ...numbers, count: reports.length });
    if (!judged.ok && judged.why === "full") {
      return this.#end(connection, CLOSE.tryAgainLater, "too many relays report at once");
    }
    if (!judged.ok) {
      // A welcome asks for everything, too: what was under way then leads to no second resync.
      if (!connection.isResyncAsked) this.#askResync(connection);
      return;
    }
    connection.isResyncAsked = false;
    for (const report of reports.slice(judged.skipCount))
      this.#options.events.reported(report, hello);
    connection.appliedSeq = seq;
    connection.isAckDue = true;
    this.#options.events.tickNeeded();
  }

  #askResync(connection: Connection): void {
    connection.isResyncAsked = true;
    this.#send(connection, { t: "resync", reason: "gap" });
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
