// A relay for tests of the Worker, on a real socket in Node, because nothing listens inside workerd.
// It believes only what a real relay believes; then it does what the body's `user` field says.
// Vitest starts it before the files of the workerd project (globalSetup in vitest.config.ts).

import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import {
  type AddressInfo,
  createServer as createTcpServer,
  type Server,
  type Socket,
} from "node:net";
import { text } from "node:stream/consumers";
import type { TestProject } from "vitest/node";
import {
  CLIENT_MODEL_HEADER,
  DESTINATION_HEADER,
  DESTINATION_SERVED_HEADER,
  RELAY_ERROR_HEADER,
  SIGNED,
  STAGE_HEADERS,
} from "../../../src/agents/protocol/headers.ts";
import { signaturePayload } from "../../../src/agents/protocol/signature.ts";
import { FORMER_RELAY_PATH, PLACE_PATH, RELAY_KEY, RENDERED_TOKENS } from "./relay-key.ts";

declare module "vitest" {
  export interface ProvidedContext {
    relayUrl: string;
    /** Nobody listens there. */
    deadUrl: string;
    /** Whoever listens there takes everything and says nothing, as behind a cable that is cut. */
    silentUrl: string;
  }
}

/** What the relay saw of a request. `GET /seen/<x-request-id>` gives it as JSON. */
export interface Seen {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Of each attempt, in order. */
  readonly destinations: readonly string[];
  readonly isClientGone: boolean;
}

const seen = new Map<string, Seen>();

/** A call of a capacity webhook. `GET /capacity/<any name>` gives those of that name as JSON. */
export interface CapacityCall {
  readonly authorization: string | null;
  readonly body: unknown;
}

const capacityCalls = new Map<string, CapacityCall[]>();

export default async function setup(project: TestProject): Promise<() => void> {
  const relay = createServer((request, response) => void serve(request, response));
  const dead = createServer();
  const sockets = new Set<Socket>();
  const silent = createTcpServer((socket) => {
    sockets.add(socket.on("error", () => undefined).resume());
  });
  const [relayUrl, deadUrl, silentUrl] = await Promise.all([relay, dead, silent].map(listen));
  await new Promise((resolve) => dead.close(resolve));
  project.provide("relayUrl", relayUrl!);
  project.provide("deadUrl", deadUrl!);
  project.provide("silentUrl", silentUrl!);
  return () => {
    for (const socket of sockets) socket.destroy();
    silent.close();
    relay.closeAllConnections();
    relay.close();
  };
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = request.url ?? "";
  // One that is far: a probe on a connection of its own takes several ways there and back.
  if (request.method === "HEAD") {
    return void setTimeout(() => response.end(), placeOf(url) === "far" ? 1_200 : 0);
  }
  if (url.startsWith("/seen/")) {
    response.end(JSON.stringify(seen.get(url.slice("/seen/".length)) ?? null));
    return;
  }
  if (url.startsWith("/capacity/")) return capacity(request, response);
  if (url.startsWith("/files/")) return file(request, response);
  const body = await text(request);
  const header = (name: string) => String(request.headers[name] ?? "");
  if (!isSigned(request, body)) return decline(response, 401, "bad-signature");
  const id = header("x-request-id");
  if (url.endsWith("/render")) {
    const headers = request.headers as Record<string, string>;
    const destinations = [header(DESTINATION_HEADER)];
    seen.set(`render-${id}`, { headers, body, destinations, isClientGone: false });
    return render(response, url, script(body));
  }
  const destinations = [...(seen.get(id)?.destinations ?? []), header(DESTINATION_HEADER)];
  const headers = request.headers as Record<string, string>;
  seen.set(id, { headers, body, destinations, isClientGone: false });
  response.once("close", () => {
    if (!response.writableFinished) {
      // Another attempt may have come meanwhile.
      seen.set(id, { ...seen.get(id)!, isClientGone: true });
    }
  });
  const endpoint = header(DESTINATION_HEADER).split(",")[0]!;
  const [name = "", at] = script(body).split("@");
  const isHere = at === undefined || at === placeOf(url);
  const played = isHere ? name : script(body, "");
  play(response, { script: played, endpoint, attempts: destinations.length });
}

/** Takes what is sent to it; the first call of a name that begins with "busy" is turned away. */
async function capacity(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = request.url ?? "";
  const calls = capacityCalls.get(url) ?? [];
  if (request.method === "GET") return void response.end(JSON.stringify(calls));
  const authorization = request.headers.authorization ?? null;
  const body: unknown = JSON.parse(await text(request));
  capacityCalls.set(url, [...calls, { authorization, body }]);
  const isBusy = url.startsWith("/capacity/busy") && calls.length === 0;
  if (url.startsWith("/capacity/moved")) response.setHeader("location", "/capacity/elsewhere");
  response.statusCode = isBusy ? 503 : url.startsWith("/capacity/moved") ? 307 : 202;
  response.end();
}

const files = new Map<string, string>();

/** Gives back what was put under the same name before. */
async function file(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = request.url ?? "";
  if (request.method === "PUT") files.set(url, await text(request));
  const stored = files.get(url);
  if (stored === undefined) response.statusCode = 404;
  response.end(request.method === "PUT" ? "" : stored);
}

/** `user` in place of the body's; "" as if it had none. */
function script(body: string, user?: string): string {
  const said = JSON.parse(body) as { user?: string; stream?: boolean };
  return (user ?? said.user) || (said.stream === true ? "stream" : "json");
}

/** Name of the relay that a path is below of. */
function placeOf(url: string): string | undefined {
  return url.startsWith(PLACE_PATH) ? url.slice(PLACE_PATH.length).split("/")[0] : undefined;
}

function isSigned(request: IncomingMessage, body: string): boolean {
  const header = (name: string) => String(request.headers[name] ?? "");
  const url = request.url ?? "";
  const isFormer = url.startsWith(`${FORMER_RELAY_PATH}/`);
  const clientModel = isFormer ? "" : header(CLIENT_MODEL_HEADER);
  const payload = signaturePayload({
    keyId: header(SIGNED.keyId),
    method: request.method ?? "",
    path: isFormer ? url.slice(FORMER_RELAY_PATH.length) : url.replace(/^\/at\/[^/]*/, ""),
    tenant: header(SIGNED.tenant),
    ticket: header(SIGNED.ticket),
    attempt: Number(header(SIGNED.attempt)),
    destinations: header(DESTINATION_HEADER),
    stages: STAGE_HEADERS.map(header),
    expiresAtMs: Number(header(SIGNED.expires)),
    bodySha256: createHash("sha256").update(body).digest("hex"),
    ...(clientModel === "" ? {} : { clientModel }),
  });
  const expected = createHmac("sha256", RELAY_KEY.secret).update(payload).digest();
  const given = Buffer.from(header(SIGNED.signature), "hex");
  return (
    header(SIGNED.keyId) === RELAY_KEY.id &&
    Number(header(SIGNED.expires)) > Date.now() &&
    given.byteLength === expected.byteLength &&
    timingSafeEqual(given, expected)
  );
}

/** RENDERED_TOKENS ids, unless told otherwise. */
function render(response: ServerResponse, url: string, name: string): void {
  if (name === "render-slow") return;
  if (name === "render-reset") return void response.socket?.resetAndDestroy();
  if (name === "render-never") return decline(response, 501, "no-renderer");
  if (name === "render-refused") return decline(response, 422, "not-rendered");
  if (name === "render-junk") return void response.end('{"token_ids":["a secret"]}');
  if (name === "render-large") return void response.end(`{"token_ids":[${"7,".repeat(2 ** 21)}7]}`);
  const token_ids = Array.from({ length: RENDERED_TOKENS }, (_, i) => i * 3);
  const features = {
    mm_hashes: { image: ["an-image"] },
    mm_placeholders: { image: [{ offset: 20, length: 30 }] },
  };
  const rendered = { token_ids, ...(name === "render-media" ? { features } : {}) };
  response.end(JSON.stringify(url.includes("/chat/") ? rendered : [rendered]));
}

function decline(response: ServerResponse, status: number, code: string): void {
  // Only a request that gave way is told when to come again.
  if (code === "evicted") response.setHeader("retry-after", "7");
  response.writeHead(status, { "content-type": "application/json", [RELAY_ERROR_HEADER]: code });
  response.end(JSON.stringify({ error: { message: "relay internals", code } }));
}

interface Scene {
  readonly script: string;
  readonly endpoint: string;
  readonly attempts: number;
}

function play(response: ServerResponse, { script: name, endpoint, attempts }: Scene): void {
  const served = { [DESTINATION_SERVED_HEADER]: endpoint, "x-engine-internal": "must not pass" };
  if (name.startsWith("decline:")) return decline(response, 502, name.slice("decline:".length));
  if (name === "exhausted-once" && attempts === 1) return decline(response, 502, "exhausted");
  if (name === "no-prefill-once" && attempts === 1) return decline(response, 503, "no-prefill");
  if (name === "reset-once" && attempts === 1) return void response.socket?.resetAndDestroy();
  if (name === "reset") return void setTimeout(() => response.socket?.resetAndDestroy(), 20);
  if (name.startsWith("status:")) {
    response.writeHead(Number(name.slice("status:".length)), served);
    return void response.end('{"error":{"message":"of the engine"}}');
  }
  if (name === "slow" || name.startsWith("slow:")) {
    const ms = Number(name.slice("slow:".length)) || 300;
    return void setTimeout(() => play(response, { script: "json", endpoint, attempts }), ms);
  }
  if (name === "error-page") {
    response.writeHead(502, { "content-type": "text/html" });
    response.end("<h1>some load balancer</h1>");
  } else if (name === "engine-error") {
    response.writeHead(400, { "content-type": "application/json", ...served });
    response.end(
      '{"error":{"message":"max_tokens is too large","type":"BadRequestError","code":400}}',
    );
  } else if (name === "silent") {
    // Says nothing until the client goes.
  } else if (name === "stream" || name === "lost" || name === "endless") {
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", ...served });
    response.write(event("Hel"));
    if (name === "endless") return;
    setTimeout(() => {
      response.write(event("lo"));
      if (name === "lost") setTimeout(() => response.socket?.resetAndDestroy(), 20);
      else response.end("data: [DONE]\n\n");
    }, 10);
  } else {
    response.writeHead(200, { "content-type": "application/json", ...served });
    const message = { role: "assistant", content: "Hello" };
    const choices = [{ index: 0, message, finish_reason: "stop" }];
    response.end(
      JSON.stringify({ id: "c1", object: "chat.completion", created: 1, model: "m", choices }),
    );
  }
}

function event(content: string): string {
  const choices = [{ index: 0, delta: { content }, finish_reason: null }];
  const chunk = { id: "c1", object: "chat.completion.chunk", created: 1, model: "m", choices };
  return `data: ${JSON.stringify(chunk)}\n\n`;
}
