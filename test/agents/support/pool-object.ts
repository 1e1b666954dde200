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
  membershipSchema,
  ticketReportsSchema,
  type Configure,
  type EndpointRecord,
  type Hello,
  type TicketReport,
} from "../../../src/agents/protocol/messages.ts";

export type ReceivedFrame = { seq: number; connection: number } & (
  | { kind: "membership"; endpoints: EndpointRecord[] }
  | { kind: "metrics"; rows: MetricsRow[] }
  | { kind: "tickets"; reports: TicketReport[] }
);

export class FakePoolObject {
  readonly hellos: Hello[] = [];
  readonly frames: ReceivedFrame[] = [];
  readonly upgrades: IncomingMessage[] = [];
  /** HTTP status to refuse upgrades with; 101 accepts. */
  upgradeStatus = 101;
  /** Whether a hello is answered. */
  isWelcoming = true;
  configure: Configure | undefined;
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

  get rows(): MetricsRow[] {
    return this.frames.flatMap((frame) => (frame.kind === "metrics" ? frame.rows : []));
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
      this.hellos.push(helloSchema.parse(JSON.parse(data.toString())));
      if (!this.isWelcoming) return;
      this.send({ t: "welcome", v: 1, objectEpoch: "o1", ackedSeq: 0 });
      if (this.configure !== undefined) this.send(this.configure);
      if (this.isDropping) socket.close();
    });
  }

  #frame(data: Buffer, connection: number): void {
    const header = decodeHeader(data);
    if (!header.ok) throw new Error(`bad frame: ${header.error}`);
    const { seq, type } = header.value;
    const payload = framePayload(data);
    if (type === FRAME.metrics) {
      const rows = decodeMetrics(payload);
      if (!rows.ok) throw new Error(`bad rows: ${rows.error}`);
      this.frames.push({ seq, connection, kind: "metrics", rows: rows.value });
      return;
    }
    const json: unknown = JSON.parse(Buffer.from(payload).toString());
    if (type === FRAME.membership) {
      this.frames.push({ seq, connection, kind: "membership", ...membershipSchema.parse(json) });
      return;
    }
    this.frames.push({ seq, connection, kind: "tickets", ...ticketReportsSchema.parse(json) });
    if (this.isAcking) this.send({ t: "ack", seq });
  }
}
