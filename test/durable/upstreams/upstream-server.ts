// Upstreams for tests of the Worker and the objects, on a real socket in Node, because nothing listens
// inside workerd. `<url>/<name>` is the base of the upstream of that name; what it answers, and what it
// publishes of its load, a test says by `PUT /control/<name>`; `GET /seen/<name>` tells what it was sent.
// Vitest starts it before the files of the workerd project (globalSetup in vitest.config.ts).

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  export interface ProvidedContext {
    upstreamUrl: string;
  }
}

export interface UpstreamScript {
  /** Of its answers: an event stream where `events` are given, else JSON. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly events?: readonly string[];
  /** The connection is cut before the answer, or after the events. */
  readonly isCut?: boolean;
  /** After the events the stream stays open. */
  readonly isOpen?: boolean;
  /** Prometheus text; without it, metrics are a 503. */
  readonly metrics?: string;
}

/** What an upstream was sent. */
export interface UpstreamSeen {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  isClientGone: boolean;
}

const scripts = new Map<string, UpstreamScript>();
const seen = new Map<string, UpstreamSeen[]>();

export default async function setup(project: TestProject): Promise<() => void> {
  const server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  project.provide("upstreamUrl", `http://127.0.0.1:${port}`);
  return () => {
    server.closeAllConnections();
    server.close();
  };
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, first = "", ...rest] = (request.url ?? "").split("/");
  const body = await text(request);
  if (first === "control") {
    scripts.set(rest[0]!, JSON.parse(body) as UpstreamScript);
    seen.delete(rest[0]!);
    return void response.end();
  }
  if (first === "seen") return void response.end(JSON.stringify(seen.get(rest[0]!) ?? []));
  const path = `/${rest.join("/")}`;
  const headers = request.headers as Record<string, string>;
  const record: UpstreamSeen = { path, headers, body, isClientGone: false };
  seen.set(first, [...(seen.get(first) ?? []), record]);
  response.once("close", () => (record.isClientGone = !response.writableFinished));
  const script = scripts.get(first) ?? {};
  if (path !== "/metrics") return play(response, script);
  response.statusCode = script.metrics === undefined ? 503 : 200;
  response.end(script.metrics ?? "");
}

function play(response: ServerResponse, script: UpstreamScript): void {
  const { status = 200, headers = {}, body = "{}", events, isCut, isOpen } = script;
  if (events === undefined && isCut === true) return void response.destroy();
  const type = events === undefined ? "application/json" : "text/event-stream";
  response.writeHead(status, { "content-type": type, ...headers });
  if (events === undefined) return void response.end(body);
  response.flushHeaders();
  for (const event of events) response.write(event);
  if (isOpen === true) return;
  if (isCut === true) setTimeout(() => response.destroy(), 50);
  else response.end();
}
