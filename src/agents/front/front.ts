// A TCP front before workerd that passes a client's disconnect on.
//
// Until workerd has begun to answer, it notices that a client's connection was reset, but not that
// the client closed it in an orderly way: a queued request would run on for nobody. The front turns
// every end of a client into an abrupt end of the connection to workerd. Bytes pass unread, both
// ways, at the pace of the slower side.

import { connect, createServer, type Server, type Socket } from "node:net";
import { METRIC } from "../../telemetry/names.ts";
import type { MetricRegistry } from "../../telemetry/metrics.ts";
import { closeServer, listen, type ListenAddress } from "../process/listen.ts";
import type { Logger } from "../process/logger.ts";

/** Connections at once; each costs two sockets. */
export const FRONT_CONNECTIONS_MAX = 10_000;
/** How long a client may take to close after workerd has. */
const LINGER_MS = 5_000;

/** Where workerd listens. A unix socket needs no port and shuts out other users. */
export type Upstream = { readonly path: string } | ListenAddress;

export interface FrontOptions {
  readonly listen: ListenAddress;
  readonly upstream: Upstream;
  readonly connectionsMax: number;
  readonly logger: Logger;
  readonly registry: MetricRegistry;
}

export interface Front {
  readonly port: number;
  /** Stops accepting; resolves when every connection has ended. */
  close(): Promise<void>;
}

/** How a connection ended; also a metric label. */
type ConnectionOutcome = "client-closed" | "upstream-closed" | "upstream-failed" | "refused";

export async function startFront(options: FrontOptions): Promise<Front> {
  const { registry, logger } = options;
  const count = (outcome: ConnectionOutcome) =>
    registry.inc(METRIC.frontConnectionsTotal, { outcome });
  let open = 0;
  const server: Server = createServer({ noDelay: true, keepAlive: true }, (client) => {
    open += 1;
    client.once("close", () => (open -= 1));
    join(client, connectUpstream(options.upstream), (outcome, err) => {
      count(outcome);
      if (outcome === "upstream-failed") logger.warn({ err }, "connection to workerd failed");
    });
  });
  server.maxConnections = options.connectionsMax;
  server.on("drop", () => count("refused"));
  registry.onRender(() => registry.set(METRIC.frontConnections, {}, open));
  const port = await listen(server, options.listen);
  return { port, close: () => closeServer(server) };
}

function connectUpstream(upstream: Upstream): Socket {
  return "path" in upstream
    ? connect({ path: upstream.path })
    : connect({ host: upstream.host, port: upstream.port, noDelay: true });
}

/** Joins two sockets until one of them ends, and tells once how. */
function join(
  client: Socket,
  upstream: Socket,
  onEnd: (outcome: ConnectionOutcome, err?: Error) => void,
): void {
  let isEnded = false;
  const end = (outcome: ConnectionOutcome, err?: Error) => {
    if (isEnded) return;
    isEnded = true;
    onEnd(outcome, err);
  };
  const clientGone = () => {
    end("client-closed");
    reset(upstream);
    client.destroy();
  };
  client.on("end", clientGone).on("error", clientGone).on("close", clientGone);
  upstream.on("error", (err) => {
    end("upstream-failed", err);
    reset(client);
  });
  upstream.on("end", () => {
    end("upstream-closed");
    client.setTimeout(LINGER_MS, () => client.destroy());
  });
  upstream.on("close", () => {
    // Without an end before it, the answer is not whole and must not look so.
    if (!isEnded) reset(client);
    end("upstream-closed");
  });
  client.pipe(upstream, { end: false });
  upstream.pipe(client);
}

/** Ends a socket so that its peer notices at once: RST on TCP, a full close on a unix socket. */
function reset(socket: Socket): void {
  // The address is that of a TCP socket; a unix socket's has no port, and cannot be reset.
  if (socket.remotePort !== undefined) socket.resetAndDestroy();
  else socket.destroy();
}
