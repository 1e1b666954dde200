// The relay over real sockets: a client that signs as the Worker does, engines that are HTTP servers,
// and a WebSocket server in place of the pool's object.

import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import {
  Agent,
  createServer,
  request as httpRequest,
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  DESTINATION_SERVED_HEADER,
  FAIRLEAD_ATTEMPTS_HEADER,
  INTERNAL_HEADER_PREFIXES,
  RELAY_ERROR_HEADER,
  SIGNED,
} from "../../../src/agents/protocol/headers.ts";
import type { TicketClosed } from "../../../src/agents/protocol/messages.ts";
import { READ_BUFFER_BYTES } from "../../../src/agents/relay/engine-answer.ts";
import { parseRelayKeys } from "../../../src/agents/relay/relay-keys.ts";
import {
  RELAY_LIMITS,
  startRelay,
  type Relay,
  type RelayOptions,
} from "../../../src/agents/relay/relay.ts";
import { RETRY_BODY_BYTES_MAX } from "../../../src/agents/relay/walk.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import { captureLogs } from "../support/logs.ts";
import { FakePoolObject } from "../support/pool-object.ts";
import { KEY, sign, type SigningOverrides } from "../support/signing.ts";

const PATH = "/v1/chat/completions";
const BODY_BYTES_MAX = 4 * 1024 * 1024;
const CANARY = "a prompt that nobody else may see";
const CHAT = JSON.stringify({ model: "m", messages: [{ role: "user", content: CANARY }] });
const STREAM = JSON.stringify({ model: "m", stream: true, messages: [] });
const USAGE = {
  prompt_tokens: 9,
  completion_tokens: 3,
  prompt_tokens_details: { cached_tokens: 8 },
};
const ANSWER = JSON.stringify({
  choices: [{ message: { content: "hi" }, finish_reason: "stop" }],
  usage: USAGE,
});
const SSE = [
  'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":null}]}\n\n',
  'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
  `data: ${JSON.stringify({ choices: [], usage: USAGE })}\n\n`,
  "data: [DONE]\n\n",
];

interface Seen {
  request: IncomingMessage;
  body: string;
}
interface Engine {
  address: string;
  server: Server;
  seen: Seen[];
}
type Behaviour = (response: ServerResponse, seen: Seen) => void;

const answerJson: Behaviour = (response) =>
  response.writeHead(200, { "content-type": "application/json" }).end(ANSWER);
const answerStream: Behaviour = (response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const event of SSE) response.write(event);
  response.end();
};
const fail =
  (status: number): Behaviour =>
  (response) =>
    response
      .writeHead(status, { "content-type": "application/json", "retry-after": "7" })
      .end(`{"error":{"code":${status}}}`);
const reset: Behaviour = (response) => response.socket!.resetAndDestroy();
/** A port that nobody listens on. */
const NOBODY = "127.0.0.1:1";

const engines: Engine[] = [];
let object: FakePoolObject;
let relay: Relay;
let registry: MetricRegistry;
let directory: string;
const { logger, lines } = captureLogs("relay");

async function engine(behaviour: Behaviour): Promise<Engine> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const entry = { request, body: Buffer.concat(chunks).toString() };
      seen.push(entry);
      behaviour(response, entry);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const made = { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, server, seen };
  engines.push(made);
  return made;
}

async function start(
  addresses: readonly string[],
  limits: RelayOptions["limits"] = RELAY_LIMITS,
): Promise<void> {
  const path = join(directory, "endpoints.json");
  const endpoints = addresses.map((address, i) => {
    const [host, port] = address.split(":");
    return { name: `e${i}`, address: host, port: Number(port) };
  });
  await writeFile(path, JSON.stringify({ endpoints }));
  relay = await startRelay({
    listen: { host: "127.0.0.1", port: 0 },
    endpointsPath: path,
    keys: parseRelayKeys(`${KEY.id}:${KEY.secret}`),
    bodyBytesMax: BODY_BYTES_MAX,
    limits,
    pool: "p",
    agent: "r",
    connect: object.url,
    token: "token",
    logger,
    registry,
    sessionTiming: { retryBaseMs: 10, retryCapMs: 50 },
  });
}

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  /** The answer broke off. */
  isBroken: boolean;
}

function open(
  path: string,
  headers: Record<string, string>,
  { method = "POST", agent = false }: { method?: string; agent?: Agent | false } = {},
): ClientRequest {
  const url = `http://127.0.0.1:${relay.port}${path}`;
  const request = httpRequest(url, { method, headers, agent });
  request.on("error", () => undefined);
  return request;
}

async function read(request: ClientRequest): Promise<Answer> {
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const chunks: Buffer[] = [];
  let isBroken = false;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  } catch {
    isBroken = true;
  }
  const text = Buffer.concat(chunks).toString();
  return { status: response.statusCode!, headers: response.headers, text, isBroken };
}

/** Sends a signed request and reads the answer. */
async function ask(
  destinations: readonly string[],
  body: string | Buffer = CHAT,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const request = open(PATH, { ...sign(destinations.join(","), body), ...headers });
  request.end(body);
  return read(request);
}

const reports = () => object.tickets.filter((report) => report.kind === "closed");
async function reported(): Promise<TicketClosed> {
  await vi.waitFor(() => expect(reports().length).toBeGreaterThan(0), { timeout: 15_000 });
  return reports().at(-1)!;
}
const waitFor = (check: () => void) => vi.waitFor(check, { timeout: 15_000 });

beforeEach(async () => {
  object = await FakePoolObject.start();
  registry = new MetricRegistry();
  directory = await mkdtemp(join(tmpdir(), "fairlead-relay-"));
  lines.length = 0;
});
afterEach(async () => {
  for (const { server } of engines.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
  await relay.close();
  await object.close();
  await rm(directory, { recursive: true });
});

describe("a good request", () => {
  it("reaches the engine byte for byte, and its answer the client", async () => {
    const { address, seen } = await engine(answerJson);
    await start([address]);
    const answer = await ask([address]);
    expect(answer).toMatchObject({ status: 200, text: ANSWER });
    expect(answer.headers[DESTINATION_SERVED_HEADER]).toBe(address);
    expect(answer.headers["content-type"]).toBe("application/json");
    expect(seen.map(({ body }) => body)).toEqual([CHAT]);
    expect(seen[0]!.request.url).toBe(PATH);
  });

  it("shows the engine an allow-list of headers, and the client one of the engine's", async () => {
    const { address, seen } = await engine((response, entry) => {
      response.setHeader("x-engine-secret", "s");
      response.setHeader("set-cookie", "a=b");
      response.setHeader("server", "uvicorn");
      answerJson(response, entry);
    });
    await start([address]);
    const answer = await ask([address], CHAT, {
      authorization: "Bearer sk-secret",
      cookie: "c=d",
      "x-forwarded-for": "1.2.3.4",
      "content-type": "application/json",
      "x-request-id": "fl-1",
      traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
      tracestate: "a=1",
    });
    expect(Object.keys(answer.headers).toSorted()).toEqual(
      [
        "connection",
        "content-length",
        "content-type",
        "date",
        "keep-alive",
        FAIRLEAD_ATTEMPTS_HEADER,
        DESTINATION_SERVED_HEADER,
      ].filter((name) => name !== "keep-alive" || "keep-alive" in answer.headers),
    );
    const { headers } = seen[0]!.request;
    expect(headers).toMatchObject({
      "content-type": "application/json",
      "x-request-id": "fl-1",
      tracestate: "a=1",
      traceparent: expect.stringMatching(
        /^00-4bf92f3577b34da6a3ce929d0e0e4736-[0-9a-f]{16}-01$/,
      ) as string,
    });
    expect(headers["traceparent"]).not.toContain("00f067aa0ba902b7");
    expect(headers).not.toHaveProperty("authorization");
    expect(headers).not.toHaveProperty("cookie");
    expect(headers).not.toHaveProperty("x-forwarded-for");
    const internal = Object.keys(headers).filter((name) =>
      INTERNAL_HEADER_PREFIXES.some((prefix) => name.startsWith(prefix)),
    );
    expect(internal).toEqual([]);
  });

  it("is reported twice: when an endpoint is tried, and with its usage at the end", async () => {
    const { address } = await engine(answerJson);
    await start([address]);
    await ask([address]);
    const closed = await reported();
    expect(closed).toMatchObject({
      endpoint: address,
      outcome: "ok",
      status: 200,
      promptTokens: 9,
      cachedTokens: 8,
      completionTokens: 3,
      finishReason: "stop",
      failed: [],
    });
    expect(closed.ttftMs).toBeGreaterThan(0);
    expect(closed.durationMs).toBeGreaterThanOrEqual(closed.ttftMs!);
    const { ticket } = closed;
    expect(object.tickets[0]).toMatchObject({
      kind: "opened",
      ticket,
      attempt: 0,
      endpoint: address,
    });
  });

  it("leaves one log line without prompt or secret", async () => {
    const { address } = await engine(answerJson);
    await start([address]);
    await ask([address], CHAT, { "x-request-id": "fl-1", authorization: "Bearer sk-secret" });
    await reported();
    const requests = lines.filter((line) => line["msg"] === "request");
    expect(requests).toHaveLength(1);
    expect(requests[0]).toMatchObject({
      requestId: "fl-1",
      traceId: expect.stringMatching(/^[0-9a-f]{32}$/) as string,
      tenant: "acme",
      endpoint: address,
      status: 200,
      outcome: "ok",
      promptTokens: 9,
    });
    const everything = JSON.stringify(lines) + registry.render();
    for (const secret of [CANARY, KEY.secret, "sk-secret", 'token"']) {
      expect(everything).not.toContain(secret);
    }
    expect(registry.render()).toContain('fairlead_relay_requests_total{outcome="ok"} 1');
    expect(registry.render()).toContain('fairlead_relay_attempts_total{outcome="answered"} 1');
  });

  it("passes an engine's own error through unchanged", async () => {
    const { address } = await engine(fail(400));
    const { address: other, seen } = await engine(answerJson);
    await start([address, other]);
    const answer = await ask([address, other]);
    expect(answer).toMatchObject({ status: 400, text: '{"error":{"code":400}}' });
    expect(answer.headers[RELAY_ERROR_HEADER]).toBeUndefined();
    expect(seen).toHaveLength(0);
    expect(await reported()).toMatchObject({ outcome: "engine-error", status: 400 });
  });
});

describe("a stream", () => {
  it("asks for usage and takes it out again where the client did not", async () => {
    const { address, seen } = await engine(answerStream);
    await start([address]);
    const answer = await ask([address], STREAM);
    expect(JSON.parse(seen[0]!.body)).toMatchObject({ stream_options: { include_usage: true } });
    expect(answer.text).toBe([SSE[0], SSE[1], SSE[3]].join(""));
    expect(await reported()).toMatchObject({
      outcome: "ok",
      promptTokens: 9,
      cachedTokens: 8,
      finishReason: "stop",
    });
  });

  it("passes usage on where the client asked", async () => {
    const { address, seen } = await engine(answerStream);
    await start([address]);
    const body = JSON.stringify({ stream: true, stream_options: { include_usage: true } });
    expect((await ask([address], body)).text).toBe(SSE.join(""));
    expect(seen[0]!.body).toBe(body);
  });

  it("arrives event by event", async () => {
    let engineResponse: ServerResponse | undefined;
    const { address } = await engine((response) => {
      engineResponse = response;
      response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
    });
    await start([address]);
    const request = open(PATH, sign(address, STREAM));
    request.end(STREAM);
    await waitFor(() => expect(engineResponse).toBeDefined());
    engineResponse!.write(SSE[0]);
    const [response] = (await once(request, "response")) as [IncomingMessage];
    expect(((await once(response, "data")) as [Buffer])[0].toString()).toBe(SSE[0]);
    for (const event of [SSE[0]!, SSE[1]!]) {
      engineResponse!.write(event);
      const [chunk] = (await once(response, "data")) as [Buffer];
      expect(chunk.toString()).toBe(event);
    }
    engineResponse!.end(SSE[3]);
    await once(response, "end");
  });

  it("shows its head before the first byte when that takes long", async () => {
    const { address } = await engine((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
      engineResponse = response;
    });
    let engineResponse: ServerResponse | undefined;
    await start([address], { ...RELAY_LIMITS, headHeldMsMax: 50 });
    const request = open(PATH, sign(address, STREAM));
    request.end(STREAM);
    const [response] = (await once(request, "response")) as [IncomingMessage];
    expect(response.statusCode).toBe(200);
    engineResponse!.end(SSE.join(""));
    await once(response.resume(), "end");
    expect(await reported()).toMatchObject({ outcome: "ok", finishReason: "stop" });
  });

  it("moves to another endpoint while no byte has followed its head", async () => {
    const dying = await engine((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
      setTimeout(() => response.socket!.resetAndDestroy(), 50);
    });
    const good = await engine(answerStream);
    await start([dying.address, good.address]);
    const answer = await ask([dying.address, good.address], STREAM);
    expect(answer.text).toBe([SSE[0], SSE[1], SSE[3]].join(""));
    expect(dying.seen).toHaveLength(1);
    expect(await reported()).toMatchObject({ endpoint: good.address, failed: [dying.address] });
  });

  it("holds the engine to the client's pace", async () => {
    const total = 64 * 1024 * 1024;
    let sent = 0;
    const { address } = await engine((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      const event = `data: ${"x".repeat(16_384)}\n\n`;
      const pump = () => {
        while (sent < total) {
          sent += event.length;
          if (!response.write(event)) return void response.once("drain", pump);
        }
        response.end("data: [DONE]\n\n");
      };
      pump();
    });
    await start([address]);
    const request = open(PATH, sign(address, STREAM));
    request.end(STREAM);
    const [response] = (await once(request, "response")) as [IncomingMessage];
    // The client does not read: the engine must come to a halt well before the end.
    let unchangedCount = 0;
    for (let before = -1; unchangedCount < 5; before = sent) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      unchangedCount = before === sent ? unchangedCount + 1 : 0;
    }
    expect(sent).toBeLessThan(total / 2);
    let received = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) received += chunk.byteLength;
    expect(received).toBeGreaterThanOrEqual(total);
    expect(await reported()).toMatchObject({ outcome: "ok" });
  });

  it.for([
    { name: "is reset", die: (response: ServerResponse) => response.socket!.resetAndDestroy() },
    { name: "closes without an end", die: (response: ServerResponse) => response.socket!.end() },
    {
      name: "ends in good order, but too early",
      die: (response: ServerResponse) => response.end(),
    },
  ])("ends with an error event when the engine $name", async ({ die }) => {
    const { address } = await engine((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      // Half an event must not reach the client.
      response.write(`${SSE[0]}data: {"choices`);
      setTimeout(() => die(response), 50);
    });
    await start([address]);
    const answer = await ask([address], STREAM, { "x-request-id": "fl-1" });
    expect(answer.isBroken).toBe(false);
    const events = answer.text.split("\n\n").filter((event) => event !== "");
    expect(events[0]).toBe(SSE[0]!.trim());
    expect(JSON.parse(events.at(-1)!.slice("data: ".length))).toEqual({
      error: {
        message: expect.any(String) as string,
        type: "server_error",
        param: null,
        code: "engine_lost",
        request_id: "fl-1",
      },
    });
    expect(answer.text).not.toContain("[DONE]");
    expect(await reported()).toMatchObject({ outcome: "broken-stream", status: 200 });
  });

  it("counts as an engine's error when the engine says so inside it", async () => {
    const { address } = await engine((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end('data: {"error":{"message":"out of memory"}}\n\ndata: [DONE]\n\n');
    });
    await start([address]);
    await ask([address], STREAM);
    expect(await reported()).toMatchObject({ outcome: "engine-error", status: 200 });
  });
});

describe("an answer that is not a stream", () => {
  const JSON_HEAD = { "content-type": "application/json" };
  const dyingInside = (bytes: number) =>
    engine((response) => {
      response.writeHead(200, { ...JSON_HEAD, "content-length": 4 * READ_BUFFER_BYTES });
      response.write("x".repeat(bytes));
      setTimeout(() => response.socket!.resetAndDestroy(), 50);
    });

  it("moves to another endpoint when the engine dies inside it", async () => {
    const [dying, good] = [await dyingInside(READ_BUFFER_BYTES / 2), await engine(answerJson)];
    await start([dying.address, good.address]);
    const answer = await ask([dying.address, good.address]);
    expect(answer).toMatchObject({ status: 200, text: ANSWER });
    expect(await reported()).toMatchObject({ endpoint: good.address, failed: [dying.address] });
  });

  it("is whole however slowly it comes", async () => {
    const { address } = await engine((response) => {
      response.writeHead(200, { ...JSON_HEAD, "content-length": Buffer.byteLength(ANSWER) });
      response.write(ANSWER.slice(0, 20));
      setTimeout(() => response.write(ANSWER.slice(20, 21)), 30);
      setTimeout(() => response.end(ANSWER.slice(21)), 60);
    });
    await start([address]);
    expect(await ask([address])).toMatchObject({ status: 200, text: ANSWER });
  });

  it("goes on as it comes when that takes long", async () => {
    const { address } = await engine((response) => {
      response.writeHead(200, { ...JSON_HEAD, "content-length": Buffer.byteLength(ANSWER) });
      response.write(ANSWER.slice(0, 20));
      engineResponse = response;
    });
    let engineResponse: ServerResponse | undefined;
    await start([address], { ...RELAY_LIMITS, headHeldMsMax: 50 });
    const request = open(PATH, sign(address, CHAT));
    request.end(CHAT);
    const [response] = (await once(request, "response")) as [IncomingMessage];
    engineResponse!.end(ANSWER.slice(20));
    await once(response.resume(), "end");
    expect(await reported()).toMatchObject({ outcome: "ok", finishReason: "stop" });
  });

  it("takes the engine's request with it when the client leaves inside it", async () => {
    let isGone = false;
    const { address, seen } = await engine((response) => {
      response.writeHead(200, { ...JSON_HEAD, "content-length": "1000" }).write("{");
      response.once("close", () => (isGone = true));
    });
    await start([address]);
    const request = open(PATH, sign(address, CHAT)).on("error", () => undefined);
    request.end(CHAT);
    await vi.waitFor(() => expect(seen).toHaveLength(1));
    request.destroy();
    await vi.waitFor(() => expect(isGone).toBe(true));
    expect(await reported()).toMatchObject({ outcome: "cancelled" });
  });

  it("is cut off, not completed, when the engine dies inside a long one", async () => {
    const { address } = await dyingInside(2 * READ_BUFFER_BYTES);
    await start([address]);
    expect(await ask([address])).toMatchObject({ isBroken: true });
    expect(await reported()).toMatchObject({ outcome: "broken-stream" });
  });
});

describe("walking the list", () => {
  it.for([
    { name: "nobody listens", status: null },
    { name: "it answers 429", status: 429 },
    { name: "it answers 502", status: 502 },
    { name: "it answers 503", status: 503 },
    { name: "it resets", status: 0 },
  ])("goes on to the next endpoint where $name", async ({ status }) => {
    const bad =
      status === null ? NOBODY : (await engine(status === 0 ? reset : fail(status))).address;
    const good = await engine(answerJson);
    await start([bad, good.address]);
    const answer = await ask([bad, good.address]);
    expect(answer).toMatchObject({ status: 200, text: ANSWER });
    expect(answer.headers[DESTINATION_SERVED_HEADER]).toBe(good.address);
    expect(await reported()).toMatchObject({
      endpoint: good.address,
      failed: [bad],
      outcome: "ok",
    });
    const opened = object.tickets.filter((report) => report.kind === "opened");
    expect(opened.map((report) => report.endpoint)).toEqual([bad, good.address]);
  });

  it("keeps the order of the list", async () => {
    const first = await engine(answerJson);
    const second = await engine(answerJson);
    await start([first.address, second.address]);
    const answer = await ask([second.address, first.address]);
    expect(answer.headers[DESTINATION_SERVED_HEADER]).toBe(second.address);
    expect(first.seen).toHaveLength(0);
  });

  it("says so when nobody could be reached", async () => {
    await start([NOBODY, "127.0.0.1:2"]);
    const answer = await ask([NOBODY, "127.0.0.1:2"]);
    expect(answer.status).toBe(502);
    expect(answer.headers[RELAY_ERROR_HEADER]).toBe("exhausted");
    expect(JSON.parse(answer.text)).toMatchObject({
      error: { code: "exhausted", type: "server_error" },
    });
    expect(await reported()).toMatchObject({
      outcome: "unreachable",
      status: null,
      endpoint: "127.0.0.1:2",
      failed: [NOBODY],
    });
  });

  it.for([
    { name: "last", isLast: true },
    { name: "followed by one that is gone", isLast: false },
  ])("gives a full engine's own refusal when it is $name", async ({ isLast }) => {
    const full = await engine(fail(429));
    const list = isLast ? [NOBODY, full.address] : [full.address, NOBODY];
    await start(list);
    const answer = await ask(list);
    expect(answer).toMatchObject({ status: 429, text: '{"error":{"code":429}}' });
    expect(answer.headers["retry-after"]).toBe("7");
    expect(answer.headers[RELAY_ERROR_HEADER]).toBeUndefined();
    expect(answer.headers[DESTINATION_SERVED_HEADER]).toBe(full.address);
    expect(await reported()).toMatchObject({
      outcome: "engine-error",
      status: 429,
      failed: [NOBODY],
    });
  });

  it("does not wait for the end of a refusal", async () => {
    const dribbling = await engine((response) => response.writeHead(503).write("{"));
    const good = await engine(answerJson);
    await start([dribbling.address, good.address]);
    expect(await ask([dribbling.address, good.address])).toMatchObject({ status: 200 });
  });

  it("tries a dead idle connection's endpoint once more, and no other", async () => {
    const { address, server, seen } = await engine(answerJson);
    const other = await engine(answerJson);
    await start([address, other.address]);
    await ask([address]);
    // The engine's side of the idle connection dies as the next request arrives on it.
    server.once("request", (request) => request.socket.resetAndDestroy());
    const answer = await ask([address, other.address]);
    expect(answer.headers[DESTINATION_SERVED_HEADER]).toBe(address);
    expect(other.seen).toHaveLength(0);
    expect(seen.length).toBeGreaterThanOrEqual(2);
  });

  it("sends a large body a second time only if the first never left", async () => {
    const breaking = await engine(reset);
    const good = await engine(answerJson);
    await start([NOBODY, breaking.address, good.address]);
    const large = JSON.stringify({ prompt: "x".repeat(RETRY_BODY_BYTES_MAX) });
    expect(await ask([NOBODY, good.address], large)).toMatchObject({ status: 200 });
    expect(await ask([breaking.address, good.address], large)).toMatchObject({ status: 502 });
    const small = JSON.stringify({ prompt: "x".repeat(RETRY_BODY_BYTES_MAX / 2) });
    expect(await ask([breaking.address, good.address], small)).toMatchObject({ status: 200 });
  });

  it("serves the endpoints of the file as it is now", async () => {
    const old = await engine(answerJson);
    const fresh = await engine(answerJson);
    await start([old.address]);
    expect((await ask([fresh.address])).status).toBe(403);
    const [host, port] = fresh.address.split(":");
    await writeFile(
      join(directory, "endpoints.json"),
      JSON.stringify({ endpoints: [{ name: "n", address: host, port: Number(port) }] }),
    );
    await vi.waitFor(async () => expect((await ask([fresh.address])).status).toBe(200), {
      timeout: 15_000,
    });
    expect((await ask([old.address])).status).toBe(403);
  });
});

describe("a client that leaves", () => {
  it.for([
    { name: "before the engine answers", head: false, body: CHAT },
    { name: "inside a stream", head: true, body: STREAM },
  ])("takes the engine's request with it $name", async ({ head, body }) => {
    let goneAtMs = 0;
    let isRunning = false;
    const { address } = await engine((response) => {
      isRunning = true;
      response.once("close", () => (goneAtMs = performance.now()));
      if (head) response.writeHead(200, { "content-type": "text/event-stream" }).write(SSE[0]);
    });
    await start([address]);
    const request = open(PATH, sign(address, body));
    request.end(body);
    if (head) await once(request, "response");
    await waitFor(() => expect(isRunning).toBe(true));
    const leftAtMs = performance.now();
    request.destroy();
    await waitFor(() => expect(goneAtMs).toBeGreaterThan(0));
    expect(goneAtMs - leftAtMs).toBeLessThan(2_000);
    expect(await reported()).toMatchObject({ outcome: "cancelled", endpoint: address });
    await waitFor(() => expect(registry.render()).toContain("fairlead_relay_open_streams 0"));
  });

  it("does no harm inside its own body, whose ticket stays good", async () => {
    const { address, seen } = await engine(answerJson);
    await start([address]);
    const headers = sign(address, CHAT);
    const request = open(PATH, { ...headers, "content-length": String(CHAT.length) });
    request.write(CHAT.slice(0, 10));
    await new Promise((resolve) => setTimeout(resolve, 50));
    request.destroy();
    const again = open(PATH, headers);
    again.end(CHAT);
    expect(await read(again)).toMatchObject({ status: 200 });
    expect(seen).toHaveLength(1);
  });
});

describe("refusals", () => {
  /** Sends `body` with a signature made by `overrides`, and changed headers. */
  async function attempt(
    address: string,
    overrides: SigningOverrides,
    headers: Record<string, string> = {},
    body = CHAT,
  ): Promise<Answer> {
    const request = open(overrides.path ?? PATH, { ...sign(address, CHAT, overrides), ...headers });
    request.end(body);
    return read(request);
  }

  it.for([
    { code: "unsigned", status: 401, headers: { [SIGNED.signature]: "" } },
    { code: "unknown-key", status: 401, overrides: { keyId: "k9" } },
    { code: "bad-signature", status: 401, overrides: { secret: "a-secret-of-somebody-else" } },
    { code: "bad-signature", status: 401, headers: { [SIGNED.tenant]: "mallory" } },
    { code: "expired", status: 401, overrides: { expiresAtMs: Date.now() - 60_000 } },
    { code: "expired", status: 401, overrides: { expiresAtMs: Date.now() + 600_000 } },
    { code: "body-changed", status: 401, body: CHAT.replace("m", "n") },
    { code: "body-changed", status: 401, body: "" },
    { code: "bad-path", status: 404, overrides: { path: "/metrics" } },
    { code: "bad-path", status: 404, overrides: { path: "/v1/models" } },
  ])("refuses what is $code", async ({ code, status, overrides = {}, headers, body }) => {
    const { address, seen } = await engine(answerJson);
    await start([address]);
    const answer = await attempt(address, overrides, headers, body);
    expect(answer.status).toBe(status);
    expect(answer.headers[RELAY_ERROR_HEADER]).toBe(code);
    expect(JSON.parse(answer.text)).toEqual({
      error: {
        message: expect.any(String) as string,
        type: "invalid_request_error",
        param: null,
        code,
      },
    });
    expect(answer.text + JSON.stringify(lines)).not.toContain(CANARY);
    expect(seen).toHaveLength(0);
    expect(registry.render()).toContain(`fairlead_relay_requests_total{outcome="${code}"} 1`);
  });

  it("answers who measures the way to it, and neither counts nor logs that", async () => {
    const { address, seen } = await engine(answerJson);
    await start([address]);
    const request = open("/", {}, { method: "HEAD" });
    request.end();
    expect((await read(request)).status).toBe(204);
    expect(seen).toHaveLength(0);
    expect(registry.render()).not.toContain("fairlead_relay_requests_total{");
    expect(JSON.stringify(lines)).not.toContain("refused");
  });

  it("refuses a known host's other port, where a server would answer", async () => {
    const known = await engine(answerJson);
    const unknown = await engine(answerJson);
    await start([known.address]);
    const answer = await ask([unknown.address]);
    expect(answer.status).toBe(403);
    expect(answer.headers[RELAY_ERROR_HEADER]).toBe("off-list");
    expect(unknown.seen).toHaveLength(0);
  });

  it("serves a ticket and attempt once, even if two copies come together", async () => {
    const { address, seen } = await engine(answerJson);
    await start([address]);
    const headers = sign(address, CHAT);
    // All heads have been judged before any body is whole.
    const requests = Array.from({ length: 4 }, () => {
      const request = open(PATH, { ...headers, "content-length": String(CHAT.length) });
      request.write(CHAT.slice(0, 10));
      return request;
    });
    await new Promise((resolve) => setTimeout(resolve, 100));
    const copies = requests.map((request) => {
      request.end(CHAT.slice(10));
      return read(request);
    });
    const statuses = (await Promise.all(copies)).map((answer) => answer.status);
    expect(statuses.toSorted((a, b) => a - b)).toEqual([200, 409, 409, 409]);
    expect(seen).toHaveLength(1);
    const late = open(PATH, headers);
    late.end(CHAT);
    const answer = await read(late);
    expect(answer.headers[RELAY_ERROR_HEADER]).toBe("replayed");
  });

  it.for([
    { name: "announced", headers: {} },
    { name: "not announced", headers: { "transfer-encoding": "chunked" } },
  ])("refuses a body past the limit, $name, and takes one at it", async ({ headers }) => {
    const { address, seen } = await engine(answerJson);
    await start([address]);
    const body = Buffer.alloc(BODY_BYTES_MAX, 0x20);
    expect(await ask([address], body, headers)).toMatchObject({ status: 200 });
    const larger = Buffer.alloc(BODY_BYTES_MAX + 1, 0x20);
    const request = open(PATH, {
      ...sign(address, larger),
      ...headers,
      ...("transfer-encoding" in headers ? {} : { "content-length": String(larger.byteLength) }),
    });
    // Only as much as is needed to be refused: the relay hangs up behind its answer.
    request.flushHeaders();
    if ("transfer-encoding" in headers) request.write(larger);
    const answer = await read(request);
    expect(answer.status).toBe(413);
    expect(answer.headers[RELAY_ERROR_HEADER]).toBe("too-large");
    expect(seen).toHaveLength(1);
  });

  it.for([
    { name: "announced", headers: {} },
    { name: "not announced", headers: { "transfer-encoding": "chunked" } },
  ])(
    "refuses what exceeds its requests or their bytes, $name, and recovers",
    async ({ headers }) => {
      const waiting: (() => void)[] = [];
      const { address } = await engine((response, entry) => {
        waiting.push(() => answerJson(response, entry));
      });
      const heldBodyBytesMax = CHAT.length + 10;
      await start([address], { ...RELAY_LIMITS, requestsMax: 2, heldBodyBytesMax });
      const first = ask([address], CHAT, headers);
      await waitFor(() => expect(waiting).toHaveLength(1));
      // Its body is still held: there is no room for another one of its size.
      const second = await ask([address], CHAT, headers);
      expect([second.status, second.headers[RELAY_ERROR_HEADER]]).toEqual([503, "busy"]);
      const small = ask([address], "{}", headers);
      await waitFor(() => expect(waiting).toHaveLength(2));
      // Two are open: a third is one too many, however small.
      expect((await ask([address], "{}", headers)).status).toBe(503);
      for (const finish of waiting.splice(0)) finish();
      expect([(await first).status, (await small).status]).toEqual([200, 200]);
      const last = ask([address], CHAT, headers);
      await waitFor(() => expect(waiting).toHaveLength(1));
      waiting[0]!();
      expect((await last).status).toBe(200);
    },
  );

  it("refuses a stranger before it has sent its body", async () => {
    const { address } = await engine(answerJson);
    await start([address]);
    const request = open(PATH, { connection: "keep-alive", "content-length": "1000000000" });
    request.flushHeaders();
    const answer = await read(request);
    expect(answer.status).toBe(401);
    expect(answer.headers["connection"]).toBe("close");
  });
});

describe("the relay's session", () => {
  it("keeps reports while the object is away and delivers them afterwards", async () => {
    const { address } = await engine(answerJson);
    await start([address]);
    await waitFor(() => expect(relay.isConnected).toBe(true));
    object.upgradeStatus = 503;
    object.socket!.terminate();
    await waitFor(() => expect(relay.isConnected).toBe(false));
    await ask([address]);
    expect(registry.render()).toContain("fairlead_relay_outbox_reports 2");
    object.upgradeStatus = 101;
    expect(await reported()).toMatchObject({ outcome: "ok", promptTokens: 9 });
    await waitFor(() => expect(registry.render()).toContain("fairlead_relay_outbox_reports 0"));
  });

  it("lists open tickets to an object that forgot them", async () => {
    let finish: (() => void) | undefined;
    const { address } = await engine((response, entry) => {
      finish = () => answerJson(response, entry);
    });
    await start([address]);
    const answer = ask([address]);
    await waitFor(() => expect(object.tickets).toHaveLength(1));
    object.socket!.terminate();
    await waitFor(() => expect(object.tickets).toHaveLength(2));
    expect(object.tickets[1]).toEqual(object.tickets[0]);
    finish!();
    expect((await answer).status).toBe(200);
  });
});

describe("stopping", () => {
  it("lets a request end and its report leave", async () => {
    let finish: (() => void) | undefined;
    const { address } = await engine((response, entry) => {
      finish = () => answerJson(response, entry);
    });
    await start([address]);
    const answer = ask([address]);
    await waitFor(() => expect(finish).toBeDefined());
    const closing = relay.close();
    await expect(ask([address])).rejects.toThrow(/ECONNREFUSED/);
    finish!();
    expect((await answer).status).toBe(200);
    await closing;
    expect(reports()).toHaveLength(1);
  });

  it("says so on a connection that is still there", async () => {
    let finish: (() => void) | undefined;
    const { address } = await engine((response, entry) => {
      finish = () => answerJson(response, entry);
    });
    await start([address]);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const send = async (request: ClientRequest) => {
      request.end(CHAT);
      const [response] = (await once(request, "response")) as [IncomingMessage];
      await once(response.resume(), "end");
      return response;
    };
    const first = send(open(PATH, sign(address, CHAT), { agent }));
    await waitFor(() => expect(finish).toBeDefined());
    const closing = relay.close();
    const second = send(open(PATH, sign(address, CHAT), { agent }));
    finish!();
    expect((await first).statusCode).toBe(200);
    const { statusCode, headers } = await second;
    expect([statusCode, headers[RELAY_ERROR_HEADER]]).toEqual([503, "stopping"]);
    await closing;
    agent.destroy();
  });

  it("ends a stream that takes too long with an error event", async () => {
    const { address } = await engine((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).write(SSE[0]);
    });
    await start([address]);
    const answer = ask([address], STREAM);
    await waitFor(() => expect(object.tickets).toHaveLength(1));
    await relay.close();
    expect((await answer).text).toContain("engine_lost");
    expect(reports()).toHaveLength(1);
  }, 10_000);
});
