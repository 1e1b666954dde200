// A TCP link with a round-trip time, which can be cut: the network between an edge and a cluster, for runs
// on one machine.
//
//   client ──► accept ──► half a round trip ──► target
//          ◄── half a round trip ◄──────────────
//
//   cut         new connections      open ones
//   refuse      reset                reset
//   reset       pass                 reset, once
//   blackhole   accepted, silent     silent; reset when the cut ends, since they have lost bytes
//
// TCP itself would repeat what a black hole has swallowed. A link cannot, so whoever waited through one
// sees a reset afterwards, as if a middlebox had forgotten the connection.

import { connect, createServer, type Server, type Socket } from "node:net";
import type { MetricRegistry } from "../../telemetry/metrics.ts";
import { METRIC } from "../../telemetry/names.ts";
import { closeServer, listen, type ListenAddress } from "../process/listen.ts";
import { DelayedPipe, type Shape } from "./delayed-pipe.ts";

/** Connections at once through one link; each costs two sockets. */
export const LINK_CONNECTIONS_MAX = 4_096;

export type Cut = "none" | "refuse" | "blackhole";

export interface LinkSpec {
  readonly name: string;
  readonly listen: ListenAddress;
  readonly target: ListenAddress;
  readonly shape: Shape;
}

/** What a link is told; what is absent stays as it is. */
export interface LinkChange {
  readonly rttMs?: number | undefined;
  readonly jitterMs?: number | undefined;
  readonly bytesPerSecond?: number | null | undefined;
  readonly cut?: Cut | "reset" | undefined;
}

export interface LinkState extends Shape {
  readonly name: string;
  readonly port: number;
  readonly cut: Cut;
  readonly connections: number;
}

/** How a connection ended; also a metric label. */
type Outcome = "ended" | "reset" | "target-failed" | "refused" | "cut";

export class Link {
  readonly #spec: LinkSpec;
  readonly #registry: MetricRegistry;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  #port = 0;
  #shape: Shape;
  #cut: Cut = "none";
  #lease: NodeJS.Timeout | undefined;

  constructor(spec: LinkSpec, registry: MetricRegistry) {
    this.#spec = spec;
    this.#shape = spec.shape;
    this.#registry = registry;
    const options = { noDelay: true, keepAlive: true, allowHalfOpen: true };
    this.#server = createServer(options, (client) => this.#accept(client));
    this.#server.maxConnections = LINK_CONNECTIONS_MAX;
    this.#server.on("drop", () => this.#count("refused"));
    registry.onRender(() =>
      registry.set(METRIC.linkConnections, { link: spec.name }, this.#connections.size),
    );
  }

  async open(): Promise<number> {
    this.#port = await listen(this.#server, this.#spec.listen);
    return this.#port;
  }

  get state(): LinkState {
    const { name } = this.#spec;
    const connections = this.#connections.size;
    return { name, port: this.#port, cut: this.#cut, connections, ...this.#shape };
  }

  /**
   * With `forMs`, the link becomes what it was at its start when that time is over. Without it, the time of an
   * earlier order goes on, unless this one says whether the link is cut: a cut for a time is never one for ever.
   */
  change(change: LinkChange, forMs?: number): void {
    if (forMs !== undefined || change.cut !== undefined) clearTimeout(this.#lease);
    const { rttMs, jitterMs, bytesPerSecond } = this.#shape;
    this.#shape = {
      rttMs: change.rttMs ?? rttMs,
      jitterMs: change.jitterMs ?? jitterMs,
      bytesPerSecond: change.bytesPerSecond === undefined ? bytesPerSecond : change.bytesPerSecond,
    };
    if (change.cut !== undefined) this.#setCut(change.cut);
    if (forMs === undefined) return;
    const restore = () => this.change({ ...this.#spec.shape, cut: "none" });
    this.#lease = setTimeout(restore, forMs);
  }

  async close(): Promise<void> {
    clearTimeout(this.#lease);
    for (const connection of this.#connections) connection.reset("cut");
    await closeServer(this.#server);
  }

  #setCut(cut: Cut | "reset"): void {
    const before = this.#cut;
    this.#cut = cut === "reset" ? "none" : cut;
    for (const connection of this.#connections) {
      if (cut === "blackhole") connection.swallow();
      else if (cut !== "none" || before === "blackhole") connection.reset("cut");
    }
  }

  #accept(client: Socket): void {
    if (this.#cut === "refuse") {
      client.on("error", () => {
        // It has left before it was reset.
      });
      client.resetAndDestroy();
      return this.#count("refused");
    }
    const connection = new Connection(client, {
      target: this.#spec.target,
      shape: () => this.#shape,
      onEnd: (outcome) => {
        this.#connections.delete(connection);
        this.#count(outcome);
      },
    });
    this.#connections.add(connection);
    if (this.#cut === "blackhole") connection.swallow();
  }

  #count(outcome: Outcome): void {
    this.#registry.inc(METRIC.linkConnectionsTotal, { link: this.#spec.name, outcome });
  }
}

interface ConnectionOptions {
  readonly target: ListenAddress;
  readonly shape: () => Shape;
  /** Once, when both sockets are gone or about to be. */
  readonly onEnd: (outcome: Outcome) => void;
}

class Connection {
  readonly #client: Socket;
  readonly #target: Socket;
  readonly #pipes: readonly DelayedPipe[];
  readonly #onEnd: (outcome: Outcome) => void;
  #hasEnded = false;
  #isConnected = false;
  #isSwallowing = false;
  #open = 2;

  constructor(client: Socket, { target, shape, onEnd }: ConnectionOptions) {
    this.#client = client;
    this.#onEnd = onEnd;
    const { host, port } = target;
    this.#target = connect({ host, port, noDelay: true, keepAlive: true, allowHalfOpen: true });
    this.#target.on("connect", () => (this.#isConnected = true));
    const nowMs = performance.now();
    const common = { shape, onReset: () => this.reset("reset") };
    this.#pipes = [
      // The client has not waited for the handshake's round trip: this side was there at once.
      new DelayedPipe({
        ...common,
        from: client,
        to: this.#target,
        openMs: nowMs + shape().rttMs,
      }),
      new DelayedPipe({ ...common, from: this.#target, to: client, openMs: nowMs }),
    ];
    for (const socket of [client, this.#target]) {
      socket.on("error", () => {
        // Its close follows, and passes on as a reset when that has travelled.
      });
      socket.on("close", () => this.#closed());
    }
  }

  /** Both ends see a reset now. */
  reset(outcome: Outcome): void {
    for (const pipe of this.#pipes) pipe.stop();
    for (const socket of [this.#client, this.#target]) socket.resetAndDestroy();
    this.#end(outcome === "reset" && !this.#isConnected ? "target-failed" : outcome);
  }

  /** Neither end hears of the other any more, nor that it is gone. */
  swallow(): void {
    this.#isSwallowing = true;
    for (const pipe of this.#pipes) pipe.stop();
  }

  #closed(): void {
    this.#open--;
    if (this.#open === 0) this.#end(this.#isSwallowing ? "cut" : "ended");
  }

  #end(outcome: Outcome): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#onEnd(outcome);
  }
}
