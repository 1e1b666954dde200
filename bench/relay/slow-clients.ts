// What clients that read nothing make a relay hold. The relay runs in this process, so that what is live can be
// told from what is garbage. So do engine and clients: what they hold without a relay is taken off.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createLogger } from "../../src/agents/process/logger.ts";
import { RELAY_LIMITS, startRelay } from "../../src/agents/relay/relay.ts";
import { parseRelayKeys } from "../../src/agents/relay/relay-keys.ts";
import { MetricRegistry } from "../../src/telemetry/metrics.ts";
import { CHAT_PATH } from "../conversation.ts";
import { BenchEngine } from "../engine.ts";
import { liveBytes } from "../measure.ts";
import { RequestSigner } from "../signed-headers.ts";

const KEY = { id: "k1", secret: "bench-secret-of-the-relay" };
const BODY_BYTES_MAX = 1024 * 1024;
const BODY = "{}";
const KIB = 1_024;
const WARM_UP_CLIENTS = 10;
/** Nobody listens there: reports of tickets wait. */
const NOWHERE = new URL("http://127.0.0.1:9");

export interface SlowBudget {
  readonly clients: number;
  /** How long they read nothing. */
  readonly waitMs: number;
}

/** What a relay holds for each client, in KiB. */
export async function measureSlowClients({ clients, waitMs }: SlowBudget): Promise<number> {
  const engine = await BenchEngine.start();
  engine.pace = { chunks: 10_000_000, intervalMs: 0 };
  const dir = mkdtempSync(join(tmpdir(), "bench-slow-"));
  const relay = await openRelay(dir, engine.address);
  const signer = new RequestSigner({
    key: KEY,
    destination: engine.address,
    tenant: "t",
    bodies: [BODY],
  });
  const headers = () => signer.sign(0);
  try {
    const enginePort = Number(engine.address.split(":")[1]);
    const direct = await liveOf(enginePort, headers, { clients, waitMs });
    const through = await liveOf(relay.port, headers, { clients, waitMs });
    return (through - direct) / KIB;
  } finally {
    await relay.close();
    engine.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Live bytes of each client that asks at `port`. */
async function liveOf(
  port: number,
  headers: () => Readonly<Record<string, string>>,
  { clients, waitMs }: SlowBudget,
): Promise<number> {
  const sockets: Socket[] = [];
  const live: number[] = [];
  // The first ones make what all of them share, compiled code above all.
  for (const count of [WARM_UP_CLIENTS, clients]) {
    for (let i = 0; i < count; i++) sockets.push(await ask(port, headers()));
    await sleep(waitMs);
    live.push(liveBytes());
  }
  for (const socket of sockets) socket.destroy();
  return (live[1]! - live[0]!) / clients;
}

function openRelay(dir: string, engine: string) {
  const [address, port] = engine.split(":");
  const endpointsPath = join(dir, "endpoints.json");
  const endpoints = [{ name: "engine", address, port: Number(port) }];
  writeFileSync(endpointsPath, JSON.stringify({ endpoints }));
  return startRelay({
    listen: { host: "127.0.0.1", port: 0 },
    endpointsPath,
    keys: parseRelayKeys(`${KEY.id}:${KEY.secret}`),
    bodyBytesMax: BODY_BYTES_MAX,
    limits: RELAY_LIMITS,
    pool: "bench",
    agent: "relay",
    connect: NOWHERE,
    token: "bench-token-of-the-agents",
    logger: createLogger({ role: "relay", level: "error" }),
    registry: new MetricRegistry(),
  });
}

/** A client that asks for a stream and reads none of it. */
async function ask(port: number, signed: Readonly<Record<string, string>>): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  const headers = {
    host: "relay",
    "content-type": "application/json",
    accept: "text/event-stream",
    "content-length": String(BODY.length),
    ...signed,
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.pause();
  socket.on("error", () => {});
  socket.write(`POST ${CHAT_PATH} HTTP/1.1\r\n${lines.join("")}\r\n${BODY}`);
  return socket;
}
