// A WebSocket server that stands for a pool's object.

import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer, type WebSocket } from "ws";
import {
  decodeHeader,
  decodeMetrics,
  FRAME,
  framePayload,
  type MetricsRow,
} from "../../../src/agents/protocol/codec.ts";
import {
  helloSchema,
  marksSchema,
  membershipSchema,
  modelsSchema,
  numberedReportsSchema,
  startedSchema,
  ticketReportsSchema,
  type Configure,
  type EndpointRecord,
  type Hello,
  type Mark,
  type ModelsPayload,
  type StartedTicket,
  type TicketReport,
} from "../../../src/agents/protocol/messages.ts";
import { type ResourcesPayload, resourcesSchema } from "../../../src/agents/protocol/resources.ts";
import { PROTOCOL_VERSION } from "../../../src/agents/protocol/version.ts";

export type ReceivedFrame = { seq: number; version: number; connection: number } & (
  | { kind: "membership"; endpoints: EndpointRecord[]; scalars?: string[] | undefined }
  | { kind: "metrics"; rows: MetricsRow[] }
  | { kind: "tickets"; reports: TicketReport[] }
  | { kind: "marks"; marks: Mark[] }
  | { kind: "models" }
  | { kind: "resources"; resources: ResourcesPayload }
  | { kind: "started"; tickets: StartedTicket[] }
);

interface ServedByName {
  lora?: { active: string[]; waiting: string[]; max: number };
  models?: string[];
}

export class FakePoolObject {
  readonly hellos: Hello[] = [];
  readonly frames: ReceivedFrame[] = [];
  /** Every frame as it came, for a real object's decoder. */
  readonly rawFrames: Uint8Array[] = [];
  readonly upgrades: IncomingMessage[] = [];
  /** By index in the membership: what MODELS frames said last. */
  readonly served = new Map<number, ServedByName>();
  /** HTTP status to refuse upgrades with; 101 accepts. */
  upgradeStatus = 101;
  /** The newest version it speaks; it refuses a hello of a later one, as real objects do. */
  version = PROTOCOL_VERSION;
  /** Whether a hello is answered. */
  isWelcoming = true;
  configure: Configure | undefined;
  /** How long `configure` comes behind the welcome; 0: at once, as from real objects. */
  configureAfterMs = 0;
  /** Whether every connection is cut right after its welcome. */
  isDropping = false;
  /** Whether ticket frames are acknowledged at once. */
  isAcking = true;
  socket: WebSocket | undefined;
  readonly #http: Server = createServer();
  readonly #sockets = new WebSocketServer({ noServer: true });

  static async start(): Promise<FakePoolObject> {
    const object = new FakePoolObject();
    object.#http.on("upgrade", (request, socket, head) => {
      object.upgrades.push(request);
      if (object.upgradeStatus !== 101) {
        // The agent may be killed before it has read this.
        socket.on("error", () => undefined);
        socket.end(`HTTP/1.1 ${object.upgradeStatus} Refused\r\ncontent-length: 0\r\n\r\n`);
        return;
      }
      object.#sockets.handleUpgrade(request, socket, head, (ws) => object.#accept(ws));
    });
    object.#http.listen(0, "127.0.0.1");
    await once(object.#http, "listening");
    return object;
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`);
  }

  get tickets(): TicketReport[] {
    return this.frames.flatMap((frame) => (frame.kind === "tickets" ? frame.reports : []));
  }

  /** Tickets that were said to have begun, as often as they were. */
  get started(): StartedTicket[] {
    return this.frames.flatMap((frame) => (frame.kind === "started" ? frame.tickets : []));
  }

  get rows(): MetricsRow[] {
    return this.frames.flatMap((frame) => (frame.kind === "metrics" ? frame.rows : []));
  }

  get modelFrameCount(): number {
    return this.frames.filter((frame) => frame.kind === "models").length;
  }

  send(message: object): void {
    this.socket!.send(JSON.stringify(message));
  }

  async close(): Promise<void> {
    for (const client of this.#sockets.clients) client.terminate();
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  #accept(socket: WebSocket): void {
    this.socket = socket;
    const connection = this.upgrades.length;
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      if (isBinary) return this.#frame(data, connection);
      const hello = helloSchema.parse(JSON.parse(data.toString()));
      this.hellos.push(hello);
      if (!this.isWelcoming) return;
      if (hello.v > this.version) {
        this.send({ t: "refused", code: "unsupported-version", message: "speaks less" });
        return socket.close(1008);
      }
      this.send({ t: "welcome", v: hello.v, objectEpoch: "o1", ackedSeq: 0 });
      const { configure, configureAfterMs } = this;
      if (configure !== undefined && configureAfterMs === 0) this.send(configure);
      else if (configure !== undefined) setTimeout(() => this.send(configure), configureAfterMs);
      if (this.isDropping) socket.close();
    });
  }

  #frame(data: Buffer, connection: number): void {
    this.rawFrames.push(data);
    const header = decodeHeader(data);
    if (!header.ok) throw new Error(`bad frame: ${header.error}`);
    const { seq, type, version } = header.value;
    const payload = framePayload(data);
    if (type === FRAME.resources) {
      const resources = resourcesSchema.parse(JSON.parse(Buffer.from(payload).toString()));
      this.frames.push({ seq, version, connection, kind: "resources", resources });
      return;
    }
    if (type === FRAME.metrics) {
      const rows = decodeMetrics(payload);
      if (!rows.ok) throw new Error(`bad rows: ${rows.error}`);
      this.frames.push({ seq, version, connection, kind: "metrics", rows: rows.value });
      return;
    }
    const json: unknown = JSON.parse(Buffer.from(payload).toString());
    if (type === FRAME.membership) {
      this.frames.push({
        seq,
        version,
        connection,
        kind: "membership",
        ...membershipSchema.parse(json),
      });
      return;
    }
    if (type === FRAME.models) {
      this.#serve(modelsSchema.parse(json));
      this.frames.push({ seq, version, connection, kind: "models" });
      return;
    }
    if (type === FRAME.marks) {
      this.frames.push({ seq, version, connection, kind: "marks", ...marksSchema.parse(json) });
      return;
    }
    if (type === FRAME.started) {
      this.frames.push({ seq, version, connection, kind: "started", ...startedSchema.parse(json) });
      return;
    }
    if (version === 1) {
      this.frames.push({
        seq,
        version,
        connection,
        kind: "tickets",
        ...ticketReportsSchema.parse(json),
      });
      if (this.isAcking) this.send({ t: "ack", seq });
      return;
    }
    const { first, reports } = numberedReportsSchema.parse(json);
    this.frames.push({ seq, version, connection, kind: "tickets", reports });
    if (this.isAcking) this.send({ t: "ack", seq, report: first + reports.length - 1 });
  }

  #serve({ names, endpoints }: ModelsPayload): void {
    const namesOf = (indexes: readonly number[]) => indexes.map((index) => names[index]!);
    for (const { endpoint, lora, models } of endpoints) {
      this.served.set(endpoint, {
        ...(lora && {
          lora: { active: namesOf(lora.active), waiting: namesOf(lora.waiting), max: lora.max },
        }),
        ...(models && { models: namesOf(models) }),
      });
    }
  }
}
