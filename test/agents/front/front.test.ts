import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { startFront, type Front } from "../../../src/agents/front/front.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import { captureLogs } from "../support/logs.ts";

/** A busy machine takes its time. */
const waitFor = (check: () => void) => vi.waitFor(check, { timeout: 15_000 });

/** A disconnect must reach upstream within this. */
const NOTICE_MS_MAX = 100;
const REQUEST = "POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi";

const { logger } = captureLogs();
let directory: string;
let upstream: Server;
let accepted: Socket[];
let front: Front;
let registry: MetricRegistry;
const clients: Socket[] = [];

async function start(kind: "tcp" | "unix", connectionsMax = 100): Promise<void> {
  accepted = [];
  upstream = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.push(socket);
    socket.on("error", () => undefined);
  });
  const path = join(directory, "w.sock");
  if (kind === "unix") upstream.listen(path);
  else upstream.listen(0, "127.0.0.1");
  await once(upstream, "listening");
  registry = new MetricRegistry();
  front = await startFront({
    listen: { host: "127.0.0.1", port: 0 },
    upstream:
      kind === "unix"
        ? { path }
        : { host: "127.0.0.1", port: (upstream.address() as AddressInfo).port },
    connectionsMax,
    logger,
    registry,
  });
}

async function dial(): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port: front.port });
  clients.push(socket);
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

/** Unlike once(), does not reject on an error. */
const closed = (socket: Socket) =>
  new Promise<void>((resolve) => socket.once("close", () => resolve()));

/** A client whose request has reached upstream, which has not answered. */
async function waiting(): Promise<{ client: Socket; peer: Socket }> {
  const client = await dial();
  client.write(REQUEST);
  await waitFor(() => expect(accepted).toHaveLength(1));
  const peer = accepted[0]!;
  let received = "";
  peer.on("data", (chunk) => (received += chunk.toString()));
  await waitFor(() => expect(received).toBe(REQUEST));
  return { client, peer };
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "fairlead-front-"));
});
afterEach(async () => {
  for (const socket of [...clients.splice(0), ...accepted]) socket.destroy();
  await front.close();
  upstream.close();
  await rm(directory, { recursive: true });
});

describe.for(["tcp", "unix"] as const)("front over %s", (kind) => {
  it.for([
    { name: "FIN", leave: (client: Socket) => client.end() },
    { name: "RST", leave: (client: Socket) => client.resetAndDestroy() },
  ])("passes a client's $name on while upstream has not answered", async ({ leave }) => {
    await start(kind);
    const { client, peer } = await waiting();
    const errors: string[] = [];
    peer.on("error", (error: NodeJS.ErrnoException) => errors.push(error.code ?? ""));
    const leftAtMs = performance.now();
    const gone = kind === "tcp" ? closed(peer) : once(peer, "end");
    leave(client);
    await gone;
    expect(performance.now() - leftAtMs).toBeLessThan(NOTICE_MS_MAX);
    // On TCP a plain FIN would not do: workerd overlooks it.
    expect(errors).toEqual(kind === "tcp" ? ["ECONNRESET"] : []);
    expect(registry.render()).toContain(
      'fairlead_front_connections_total{outcome="client-closed"} 1',
    );
  });

  it("carries both directions and ends the client when upstream ends", async () => {
    await start(kind);
    const { client, peer } = await waiting();
    let answer = "";
    client.on("data", (chunk) => (answer += chunk.toString()));
    peer.write("first,");
    peer.end("last");
    await once(client, "end");
    expect(answer).toBe("first,last");
    await waitFor(() => expect(registry.render()).toContain("fairlead_front_connections 0"));
    expect(registry.render()).toContain('outcome="upstream-closed"} 1');
  });

  it("holds a fast sender to the pace of a slow reader, both ways, and loses nothing", async () => {
    await start(kind);
    const { client, peer } = await waiting();
    const chunk = Buffer.alloc(64 * 1024, 1);
    const total = 64 * 1024 * 1024;
    for (const [sender, reader] of [
      [peer, client],
      [client, peer],
    ] as const) {
      reader.removeAllListeners("data");
      reader.pause();
      let sent = 0;
      const pump = () => {
        while (sent < total) {
          sent += chunk.byteLength;
          if (!sender.write(chunk)) return void sender.once("drain", pump);
        }
      };
      pump();
      // What is in flight fits the buffers of sockets and kernel; the rest stays with the sender.
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect(sent).toBeLessThan(total / 2);
      let received = 0;
      reader.on("data", (data) => (received += data.byteLength)).resume();
      await waitFor(() => expect(received).toBe(total));
    }
  });
});

describe("front", () => {
  it("resets the client when upstream is reset inside an answer", async () => {
    await start("tcp");
    const { client, peer } = await waiting();
    const errors: string[] = [];
    client.on("error", (error: NodeJS.ErrnoException) => errors.push(error.code ?? ""));
    peer.write("half");
    await once(client, "data");
    peer.resetAndDestroy();
    await closed(client);
    expect(errors).toEqual(["ECONNRESET"]);
  });

  it("closes the client when upstream cannot be reached", async () => {
    await start("unix");
    await new Promise((resolve) => upstream.close(resolve));
    const client = await dial();
    await closed(client);
    expect(registry.render()).toContain('outcome="upstream-failed"} 1');
  });

  it("refuses connections past its maximum", async () => {
    await start("tcp", 2);
    await dial();
    await dial();
    const third = connect({ host: "127.0.0.1", port: front.port });
    clients.push(third);
    third.on("error", () => undefined);
    await closed(third);
    expect(accepted.length).toBeLessThanOrEqual(2);
    expect(registry.render()).toContain('outcome="refused"} 1');
  });
});
