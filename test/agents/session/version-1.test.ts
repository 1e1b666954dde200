// This version's agents at an object of the release before: its recorded words, their recorded bytes.

import { createServer, type Server } from "node:http";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type WebSocket, WebSocketServer } from "ws";
import { type Collector, startCollector } from "../../../src/agents/collector/collector.ts";
import {
  decodeHeader,
  decodeMetrics,
  FRAME,
  framePayload,
  type MetricsRow,
} from "../../../src/agents/protocol/codec.ts";
import { TicketOutbox } from "../../../src/agents/relay/ticket-outbox.ts";
import { PoolSession } from "../../../src/agents/session/pool-session.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import recorded from "../../fixtures/protocol-v1.json" with { type: "json" };
import { captureLogs } from "../support/logs.ts";

/** What the recorded collector read. */
const ENGINE_METRICS = `vllm:num_requests_waiting{model_name="m"} 3
vllm:num_requests_running{model_name="m"} 2
vllm:kv_cache_usage_perc{model_name="m"} 0.5
vllm:cache_config_info{block_size="16",num_gpu_blocks="4000"} 1
`;

let http: Server;
let sockets: WebSocketServer;
/** `v` of every hello, and every frame after an accepted one, as hex. */
let versions: number[];
let frames: string[];
let collector: Collector | undefined;
let session: PoolSession | undefined;
const { logger } = captureLogs();
const registry = new MetricRegistry();

function converse(socket: WebSocket): void {
  const { refused, welcome, configure } = recorded.object;
  socket.on("message", (data: Buffer, isBinary: boolean) => {
    if (isBinary) return frames.push(data.toString("hex"));
    const { v } = JSON.parse(data.toString()) as { v: number };
    versions.push(v);
    if (v !== 1) {
      socket.send(refused);
      return socket.close(1008, "unsupported-version");
    }
    socket.send(welcome);
    socket.send(configure);
  });
}

const options = () => ({
  pool: "eu-1",
  connect: new URL(`http://127.0.0.1:${(http.address() as AddressInfo).port}`),
  token: "t",
  logger,
  registry,
  sessionTiming: { retryBaseMs: 10 },
});

/** The rows of a METRICS frame. */
function rows(hex: string): MetricsRow[] {
  const frame = new Uint8Array(Buffer.from(hex, "hex"));
  const header = decodeHeader(frame);
  if (!header.ok || header.value.version !== 1) throw new Error("not a frame of version 1");
  if (header.value.type !== FRAME.metrics) return [];
  const decoded = decodeMetrics(framePayload(frame));
  return decoded.ok ? decoded.value : [];
}

beforeEach(async () => {
  [versions, frames] = [[], []];
  http = createServer((_request, response) => response.end(ENGINE_METRICS));
  sockets = new WebSocketServer({ server: http });
  sockets.on("connection", converse);
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
});
afterEach(async () => {
  await Promise.all([session?.close(), collector?.close()]);
  [session, collector] = [undefined, undefined];
  for (const socket of sockets.clients) socket.terminate();
  http.closeAllConnections();
  await new Promise((resolve) => http.close(resolve));
});

it("a relay says what a relay of that release said, byte for byte, and reads its acks", async () => {
  const outbox = new TicketOutbox();
  session = new PoolSession({
    ...options(),
    role: "relay",
    agent: "relay-0",
    timing: { retryBaseMs: 10 },
    events: {
      onAck: (acknowledged) => outbox.acked(acknowledged),
      onResync: () => outbox.resync(),
    },
  });
  outbox.attach(session);
  const subject = (ticket: string, attempt: number) => {
    return { ticket, attempt, requestId: "r", tenant: "acme", model: "m" };
  };
  const endpoint = "127.0.0.1:1";
  outbox.opened(subject("TICKET_A", 0), endpoint);
  outbox.opened(subject("TICKET_B", 1), endpoint);
  await vi.waitFor(() => expect(frames).toEqual(recorded.agent.relay.frames.slice(0, 1)), 15_000);
  outbox.closed({
    kind: "closed",
    ...subject("TICKET_A", 0),
    endpoint,
    outcome: "ok",
    status: 200,
    ttftMs: 84.2,
    durationMs: 1210.5,
    promptTokens: 512,
    cachedTokens: 448,
    completionTokens: 96,
    finishReason: "stop",
    failed: [],
  });
  outbox.closed({
    kind: "closed",
    ...subject("TICKET_B", 1),
    endpoint,
    outcome: "unreachable",
    status: null,
    ttftMs: null,
    durationMs: 1210.5,
    promptTokens: null,
    cachedTokens: null,
    completionTokens: null,
    finishReason: null,
    failed: [endpoint],
  });
  await vi.waitFor(() => expect(frames).toEqual(recorded.agent.relay.frames.slice(0, 2)), 15_000);
  expect(versions).toEqual([2, 1]);
  const [socket] = sockets.clients;
  socket!.send(recorded.object.ack);
  await vi.waitFor(() => expect(outbox.size).toBe(0), 15_000);
  // Nothing is open and all is durable: being asked for everything, it has nothing to say.
  socket!.send(recorded.object.resync);
  outbox.opened(subject("TICKET_C", 0), endpoint);
  await vi.waitFor(() => expect(frames).toHaveLength(3), 15_000);
  expect(Buffer.from(frames[2]!, "hex").subarray(12).toString()).toBe(
    `{"reports":[{"kind":"opened","ticket":"TICKET_C","attempt":0,"endpoint":"${endpoint}"}]}`,
  );
  outbox.close();
});

it("a collector lists and measures as a collector of that release did", async () => {
  const { port } = http.address() as AddressInfo;
  const directory = mkdtempSync(join(tmpdir(), "fairlead-version-1-"));
  const endpointsPath = join(directory, "endpoints.yaml");
  writeFileSync(
    endpointsPath,
    `endpoints:
  - { name: vllm-0, address: 127.0.0.1, port: ${port}, labels: { zone: a } }
  - { name: vllm-1, address: 127.0.0.1, port: 1 }
`,
  );
  collector = await startCollector({ ...options(), endpointsPath, agent: "collector-0" });
  const [membership, metrics] = recorded.agent.collector.frames;
  await vi.waitFor(() => expect(frames.length).toBeGreaterThan(1), 15_000);
  expect(versions).toEqual([2, 1]);
  const text = (hex: string) => Buffer.from(hex, "hex").toString("latin1");
  const { engineAddress } = recorded.agent.collector;
  expect(text(frames[0]!)).toBe(text(membership!).replace(engineAddress, `127.0.0.1:${port}`));
  const [row] = rows(metrics!);
  const isSame = expect.objectContaining({ ...row, ageMs: expect.any(Number) as number });
  await vi.waitFor(() => expect(frames.slice(1).flatMap(rows)).toContainEqual(isSame), 15_000);
  rmSync(directory, { recursive: true });
});
