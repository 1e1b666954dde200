// An engine that costs nothing to ask: it answers at once, with an event stream of a fixed pace, or
// when it is told to.

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { MODEL } from "./conversation.ts";

/** Events of a stream, and the time between two; 0: many at once, and as fast as they are read. */
interface Pace {
  readonly chunks: number;
  readonly intervalMs: number;
}

const COMPLETION = {
  id: "chatcmpl-bench",
  object: "chat.completion",
  created: 1_700_000_000,
  model: MODEL,
  choices: [
    {
      index: 0,
      message: { role: "assistant", content: "An answer of some words. ".repeat(16) },
      finish_reason: "stop",
    },
  ],
  usage: { prompt_tokens: 1_000, completion_tokens: 100, total_tokens: 1_100 },
};
const ANSWER = JSON.stringify(COMPLETION);
const CHUNK = `data: ${JSON.stringify({
  ...COMPLETION,
  object: "chat.completion.chunk",
  choices: [{ index: 0, delta: { content: " word" }, finish_reason: null }],
  usage: null,
})}\n\n`;
const BULK = CHUNK.repeat(200);
const LAST = `data: ${JSON.stringify({
  ...COMPLETION,
  object: "chat.completion.chunk",
  choices: [],
})}\n\ndata: [DONE]\n\n`;
const MODELS = JSON.stringify({
  object: "list",
  data: [{ id: MODEL, object: "model", owned_by: "vllm" }],
});
const METRICS = ["num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"]
  .map((name) => `# TYPE vllm:${name} gauge\nvllm:${name}{model_name="${MODEL}"} 0\n`)
  .join("");

/** An engine of this process. */
export class BenchEngine {
  readonly #server = createServer((request, response) => this.#serve(request, response));
  /** Resolves when held requests may be answered. */
  #released = Promise.withResolvers<void>();
  /** Of the streams that begin from now on. */
  pace: Pace = { chunks: 100, intervalMs: 10 };
  #leftToHold = 0;
  #heldCount = 0;

  static async start(): Promise<BenchEngine> {
    const engine = new BenchEngine();
    engine.#server.keepAliveTimeout = 0;
    await new Promise<void>((resolve) => engine.#server.listen(0, "127.0.0.1", resolve));
    return engine;
  }

  /** `host:port`. */
  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Requests that have arrived whole and wait for `release`. */
  get heldCount(): number {
    return this.#heldCount;
  }

  /** The next `count` requests are not answered, not even with a head; those after them are. */
  hold(count: number): void {
    this.#leftToHold = count;
  }

  release(): void {
    this.#leftToHold = 0;
    this.#released.resolve();
    this.#released = Promise.withResolvers();
  }

  close(): void {
    this.release();
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    if (request.url === "/v1/models") send(response, "application/json", MODELS);
    else if (request.url === "/metrics") send(response, "text/plain; version=0.0.4", METRICS);
    else if (request.method === "POST") void this.#complete(request, response);
    else send(response, "text/plain", "ok\n");
  }

  async #complete(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // A client that leaves shows at the write; nothing here outlives the run.
    request.on("error", () => {}).resume();
    await new Promise((resolve) => request.once("close", resolve).once("end", resolve));
    if (this.#leftToHold > 0) {
      this.#leftToHold -= 1;
      this.#heldCount += 1;
      await this.#released.promise;
      this.#heldCount -= 1;
    }
    if (request.headers.accept === "text/event-stream") await stream(response, this.pace);
    else send(response, "application/json", ANSWER);
  }
}

async function stream(response: ServerResponse, { chunks, intervalMs }: Pace): Promise<void> {
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  const startedMs = performance.now();
  for (let sent = 1; sent < chunks && !response.destroyed; sent++) {
    const isFull = !response.write(intervalMs > 0 ? CHUNK : BULK);
    if (intervalMs > 0) {
      await sleep(Math.max(0, startedMs + sent * intervalMs - performance.now()));
    } else if (isFull) await untilDrained(response);
  }
  response.end(LAST);
}

async function untilDrained(response: ServerResponse): Promise<void> {
  await new Promise<void>((resolve) => {
    const go = () => {
      response.off("drain", go).off("close", go);
      resolve();
    };
    response.on("drain", go).on("close", go);
  });
}

function send(response: ServerResponse, contentType: string, body: string): void {
  response.writeHead(200, {
    "content-type": contentType,
    "content-length": Buffer.byteLength(body),
  });
  response.end(body);
}
