// The admin listener of an agent: /health for probes and /metrics for Prometheus. It has no
// authentication and binds to loopback unless told otherwise.

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { METRICS_CONTENT_TYPE, type MetricRegistry } from "../../telemetry/metrics.ts";
import { closeServer, listen, type ListenAddress } from "./listen.ts";

/** Whether the agent does its work, and facts that help when it does not. Never secrets. */
interface Health {
  readonly isHealthy: boolean;
  readonly detail: Readonly<Record<string, string | number | boolean | null>>;
}

export interface AdminServerOptions {
  readonly listen: ListenAddress;
  readonly registry: MetricRegistry;
  health(): Health;
}

export interface AdminServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Probes and scrapers only; more connections than this are refused. */
const ADMIN_CONNECTIONS_MAX = 64;

export async function startAdminServer(options: AdminServerOptions): Promise<AdminServer> {
  const server = createServer((request, response) => answer(options, request, response));
  server.maxConnections = ADMIN_CONNECTIONS_MAX;
  const port = await listen(server, options.listen);
  return {
    port,
    async close() {
      server.closeAllConnections();
      await closeServer(server);
    },
  };
}

function answer(
  options: AdminServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.writeHead(405, { allow: "GET, HEAD" }).end();
  } else if (request.url === "/health") {
    const { isHealthy, detail } = options.health();
    response.writeHead(isHealthy ? 200 : 503, { "content-type": "application/json" });
    response.end(`${JSON.stringify({ status: isHealthy ? "ok" : "unhealthy", ...detail })}\n`);
  } else if (request.url === "/metrics") {
    response
      .writeHead(200, { "content-type": METRICS_CONTENT_TYPE })
      .end(options.registry.render());
  } else {
    response.writeHead(404, { "content-type": "text/plain" }).end("try /health or /metrics\n");
  }
}
