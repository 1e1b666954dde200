// A relay of this process for tests, with the engines it may reach and a way to ask it.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseRelayKeys } from "../../../src/agents/relay/relay-keys.ts";
import {
  RELAY_LIMITS,
  startRelay,
  type Relay,
  type RelayOptions,
} from "../../../src/agents/relay/relay.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import { captureLogs } from "./logs.ts";
import { FakePoolObject } from "./pool-object.ts";
import { KEY, sign } from "./signing.ts";

const BODY_BYTES_MAX = 4 * 1024 * 1024;
const CHAT = JSON.stringify({ model: "m", messages: [] });

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

export interface RunningRelay {
  readonly relay: Relay;
  readonly object: FakePoolObject;
  readonly registry: MetricRegistry;
  /** Sends a signed request for `destinations` and reads the answer. */
  readonly ask: (destinations: readonly string[], body?: string) => Promise<Answer>;
  /** Sends it, and leaves the answer to the caller. */
  readonly open: (
    destinations: readonly string[],
    body?: string,
    headers?: Readonly<Record<string, string>>,
  ) => Promise<Response>;
  /** Value of a series in the relay's metrics, 0 where it is missing. */
  readonly metric: (series: string) => number;
  [Symbol.asyncDispose](): Promise<void>;
}

export async function runRelay(
  addresses: readonly string[],
  limits: Partial<RelayOptions["limits"]> = {},
  learning?: RelayOptions["learning"],
): Promise<RunningRelay> {
  const directory = await mkdtemp(join(tmpdir(), "fairlead-relay-"));
  const endpointsPath = join(directory, "endpoints.json");
  const endpoints = addresses.map((address, i) => {
    const [host, port] = address.split(":");
    return { name: `e${i}`, address: host, port: Number(port) };
  });
  await writeFile(endpointsPath, JSON.stringify({ endpoints }));
  const object = await FakePoolObject.start();
  object.configure = { t: "configure", scrapeIntervalMs: 200, metrics: [] };
  const registry = new MetricRegistry();
  const relay = await startRelay({
    listen: { host: "127.0.0.1", port: 0 },
    endpointsPath,
    keys: parseRelayKeys(`${KEY.id}:${KEY.secret}`),
    bodyBytesMax: BODY_BYTES_MAX,
    limits: { ...RELAY_LIMITS, ...limits },
    pool: "p",
    agent: "r",
    connect: object.url,
    token: "token",
    logger: captureLogs("relay").logger,
    registry,
    sessionTiming: { retryBaseMs: 10, retryCapMs: 50 },
    ...(learning === undefined ? {} : { learning }),
  });
  const open: RunningRelay["open"] = (destinations, body = CHAT, headers = {}) =>
    fetch(`http://127.0.0.1:${relay.port}/v1/chat/completions`, {
      method: "POST",
      headers: { ...sign(destinations.join(","), body), ...headers },
      body,
    });
  return {
    relay,
    object,
    registry,
    open,
    async ask(destinations, body) {
      const response = await open(destinations, body);
      return { status: response.status, headers: response.headers, text: await response.text() };
    },
    metric(series) {
      const line = registry
        .render()
        .split("\n")
        .find((each) => each.startsWith(`${series} `));
      return line === undefined ? 0 : Number(line.slice(series.length));
    },
    async [Symbol.asyncDispose]() {
      await relay.close();
      await object.close();
      await rm(directory, { recursive: true });
    },
  };
}

export interface StubEngine {
  readonly address: string;
  /** Requests it has received. */
  requestCount: number;
  /** What it does with a request; may be replaced. */
  behaviour: (response: ServerResponse) => void;
  /** Closes its port, and every connection with it. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** An HTTP server in place of an engine; answers 200 unless told otherwise. */
export async function startStubEngine(
  behaviour: StubEngine["behaviour"] = answerOk,
): Promise<StubEngine> {
  const server = createServer((request, response) => {
    request.resume().on("end", () => {
      engine.requestCount += 1;
      engine.behaviour(response);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const stop = async () => {
    server.closeAllConnections();
    if (!server.listening) return;
    server.close();
    await once(server, "close");
  };
  const engine: StubEngine = {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requestCount: 0,
    behaviour,
    stop,
    [Symbol.asyncDispose]: stop,
  };
  return engine;
}

export function answerOk(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "application/json" }).end("{}");
}

export function answerStatus(status: number): StubEngine["behaviour"] {
  return (response) => response.writeHead(status, { "content-type": "application/json" }).end("{}");
}

export function resetConnection(response: ServerResponse): void {
  response.socket!.resetAndDestroy();
}
