// The admin listener of an agent: /health for probes and /metrics for Prometheus. It has no
// authentication and binds to loopback unless told otherwise. An agent that is only for tests may take
// orders there, too: as JSON, which a page in a browser cannot send elsewhere without asking first.

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { METRICS_CONTENT_TYPE, type MetricRegistry } from "../../telemetry/metrics.ts";
import { closeServer, listen, type ListenAddress } from "./listen.ts";

/** Whether the agent does its work, and facts that help when it does not. Never secrets. */
interface Health {
  readonly isHealthy: boolean;
  readonly detail: Readonly<Record<string, string | number | boolean | null>>;
}

/** Answers of a route of the agent's own. */
export interface AdminAnswer {
  readonly status: number;
  readonly body: unknown;
}

export interface AdminServerOptions {
  readonly listen: ListenAddress;
  readonly registry: MetricRegistry;
  health(): Health;
  /** POST to `path` with a JSON body; undefined where that is not JSON. */
  readonly orders?: {
    readonly path: string;
    take(body: unknown): AdminAnswer;
  };
}

export interface AdminServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Probes and scrapers only; more connections than this are refused. */
const ADMIN_CONNECTIONS_MAX = 64;
const ORDER_BYTES_MAX = 4_096;

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
  const { orders } = options;
  if (orders !== undefined && request.method === "POST" && request.url === orders.path) {
    void takeOrder(orders, request, response);
  } else if (request.method !== "GET" && request.method !== "HEAD") {
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

async function takeOrder(
  orders: NonNullable<AdminServerOptions["orders"]>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const isJson = request.headers["content-type"]?.split(";")[0] === "application/json";
  const { status, body } = isJson
    ? orders.take(await readJson(request))
    : { status: 415, body: { error: "expected content-type: application/json" } };
  response.writeHead(status, { "content-type": "application/json", connection: "close" });
  response.end(`${JSON.stringify(body)}\n`);
}

/** undefined where it is not JSON, too long, or its sender has left. */
async function readJson(request: IncomingMessage): Promise<unknown> {
  let text = "";
  try {
    for await (const chunk of request.setEncoding("utf8")) {
      text += String(chunk);
      if (text.length > ORDER_BYTES_MAX) return undefined;
    }
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
