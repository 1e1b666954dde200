// What a relay holds for a client that reads nothing: what the engine has sent, less what the client got and what is
// in the kernel, whose buffers are no memory of the relay's.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { parseRelayKeys } from "../../../src/agents/relay/relay-keys.ts";
import { RELAY_LIMITS, startRelay, type Relay } from "../../../src/agents/relay/relay.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import { captureLogs } from "../support/logs.ts";
import { KEY, sign } from "../support/signing.ts";

const PATH = "/v1/chat/completions";
const BODY = "{}";
const EVENT = `data: ${"x".repeat(504)}\n\n`;
/** Of a connection, in /proc/net/tcp. */
const ESTABLISHED = "01";
const KIB = 1024;
const HELD_BYTES_MAX = 256 * KIB;
/** More than every buffer on the way takes. */
const ANSWER_BYTES = 64 * 1024 * KIB;
/** Of the engine: what it has given to the kernel is known to one of them. */
const WRITE_BYTES = 4 * KIB;
/** How long nothing may move for everything to be full. */
const STILL_MS = 500;
const STILL_MS_MAX = 30_000;
const closing: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

interface Engine {
  readonly port: number;
  /** Of its answer's body, what the kernel has taken. */
  sentBytes: number;
}

/** Answers as fast as it is read. */
async function startEngine(type: string): Promise<Engine> {
  const part = Buffer.from(EVENT.repeat(WRITE_BYTES / EVENT.length));
  const server = createServer((socket) => {
    closing.push(() => void socket.destroy());
    socket
      .on("error", () => undefined)
      .once("data", () => {
        const head = `content-type: ${type}\r\ncontent-length: ${ANSWER_BYTES}`;
        socket.write(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n`);
        const next = () => {
          if (socket.destroyed || engine.sentBytes >= ANSWER_BYTES) return;
          socket.write(part, () => {
            engine.sentBytes += part.byteLength;
            next();
          });
        };
        next();
      });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(() => void server.close());
  const engine = { port: (server.address() as AddressInfo).port, sentBytes: 0 };
  return engine;
}

async function startRelayTo(port: number): Promise<Relay> {
  const dir = mkdtempSync(join(tmpdir(), "slow-client-"));
  closing.push(() => rmSync(dir, { recursive: true }));
  const endpointsPath = join(dir, "endpoints.json");
  const endpoints = [{ name: "e", address: "127.0.0.1", port }];
  writeFileSync(endpointsPath, JSON.stringify({ endpoints }));
  const relay = await startRelay({
    listen: { host: "127.0.0.1", port: 0 },
    endpointsPath,
    keys: parseRelayKeys(`${KEY.id}:${KEY.secret}`),
    bodyBytesMax: 1024 * KIB,
    limits: RELAY_LIMITS,
    pool: "p",
    agent: "r",
    // Nobody listens there: reports wait.
    connect: new URL("http://127.0.0.1:9"),
    token: "token",
    logger: captureLogs("relay").logger,
    registry: new MetricRegistry(),
  });
  closing.push(() => relay.close());
  return relay;
}

/** Asks, and reads nothing of the answer. */
function ask(relay: Relay, engine: Engine): void {
  const socket = connect({ host: "127.0.0.1", port: relay.port }).pause();
  closing.push(() => void socket.destroy());
  const signed = sign(`127.0.0.1:${engine.port}`, BODY);
  const headers = { host: "relay", "content-length": String(BODY.length), ...signed };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`POST ${PATH} HTTP/1.1\r\n${lines.join("")}\r\n${BODY}`);
}

/** Waits until the engine has not been able to send for a while. */
async function untilStill(engine: Engine): Promise<void> {
  const deadlineMs = performance.now() + STILL_MS_MAX;
  let seenBytes = -1;
  while (engine.sentBytes === 0 || engine.sentBytes !== seenBytes) {
    if (performance.now() > deadlineMs) throw new Error("the engine could always send more");
    seenBytes = engine.sentBytes;
    await sleep(STILL_MS);
  }
}

/** Bytes in the kernel's buffers of the connections to `port`, at both ends. */
function kernelBytes(port: number): number {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  let bytes = 0;
  for (const line of readFileSync("/proc/net/tcp", "latin1").split("\n").slice(1)) {
    const [, local = "", remote = "", state, queues = ""] = line.trim().split(/\s+/);
    const isOfPort = local.endsWith(suffix) || remote.endsWith(suffix);
    if (state !== ESTABLISHED || !isOfPort) continue;
    for (const queue of queues.split(":")) bytes += Number.parseInt(queue, 16);
  }
  return bytes;
}

// Only Linux says what its buffers hold.
describe.runIf(process.platform === "linux")("a client that reads nothing", () => {
  it.each(["text/event-stream", "application/json"])(
    "makes the relay hold little of %s",
    async (type) => {
      const engine = await startEngine(type);
      const relay = await startRelayTo(engine.port);
      ask(relay, engine);
      await untilStill(engine);
      expect(engine.sentBytes).toBeLessThan(ANSWER_BYTES);
      const heldBytes = engine.sentBytes - kernelBytes(engine.port) - kernelBytes(relay.port);
      expect(heldBytes).toBeGreaterThan(0);
      expect(heldBytes + WRITE_BYTES).toBeLessThan(HELD_BYTES_MAX);
    },
  );
});
