import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { IN_FLIGHT_BYTES_MAX } from "../../../src/agents/link/delayed-pipe.ts";
import { Link } from "../../../src/agents/link/link.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";

/** Timers and the loop may be early or late by so much; a busy machine only later. */
const EARLY_MS_MAX = 2;
const waitFor = (check: () => void) => vi.waitFor(check, { timeout: 15_000 });

let target: Server;
let accepted: Socket[];
let link: Link;
let port: number;
let registry: MetricRegistry;
const clients: Socket[] = [];

/** What arrives at a socket, and how it ended. */
interface Heard {
  text: string;
  hasEnded: boolean;
  error: string | undefined;
  isClosed: boolean;
}

function hear(socket: Socket): Heard {
  const heard: Heard = { text: "", hasEnded: false, error: undefined, isClosed: false };
  socket.on("data", (chunk: Buffer) => (heard.text += chunk.toString()));
  socket.on("end", () => (heard.hasEnded = true));
  socket.on("error", (error: NodeJS.ErrnoException) => (heard.error = error.code));
  socket.on("close", () => (heard.isClosed = true));
  return heard;
}

async function start(shape: { rttMs?: number; bytesPerSecond?: number } = {}): Promise<void> {
  registry = new MetricRegistry();
  link = new Link(
    {
      name: "a",
      listen: { host: "127.0.0.1", port: 0 },
      target: { host: "127.0.0.1", port: (target.address() as AddressInfo).port },
      shape: { rttMs: 0, jitterMs: 0, bytesPerSecond: null, ...shape },
    },
    registry,
  );
  port = await link.open();
}

async function dial(): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  clients.push(socket);
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

/** A connection on which both ends have heard of each other. */
async function joined(): Promise<{ client: Socket; peer: Socket }> {
  const client = await dial();
  const before = accepted.length;
  client.write("hello");
  await waitFor(() => expect(accepted).toHaveLength(before + 1));
  const peer = accepted.at(-1)!;
  await once(peer, "data");
  return { client, peer };
}

beforeEach(async () => {
  accepted = [];
  target = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.push(socket);
    socket.on("error", () => undefined);
  });
  target.listen(0, "127.0.0.1");
  await once(target, "listening");
});
afterEach(async () => {
  for (const socket of [...clients.splice(0), ...accepted]) socket.destroy();
  await link.close();
  target.close();
});

describe("a link", () => {
  it("takes half of the round trip each way, and a whole one for the handshake", async () => {
    await start({ rttMs: 80 });
    const startedMs = performance.now();
    const { client, peer } = await joined();
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(120 - EARLY_MS_MAX);
    const answeredMs = performance.now();
    peer.write("answer");
    await once(client, "data");
    expect(performance.now() - answeredMs).toBeGreaterThanOrEqual(40 - EARLY_MS_MAX);
  });

  it("keeps the order of bytes when its time shrinks under way, and passes on the end after them", async () => {
    await start({ rttMs: 200 });
    const { client, peer } = await joined();
    const heard = hear(client);
    peer.write("slow ");
    await waitFor(() => expect(link.state.connections).toBe(1));
    link.change({ rttMs: 0 });
    peer.end("fast");
    await waitFor(() => expect(heard.hasEnded).toBe(true));
    expect(heard.text).toBe("slow fast");
    client.end();
    await waitFor(() => expect(link.state.connections).toBe(0));
    expect(registry.render()).toContain(
      'fairlead_link_connections_total{link="a",outcome="ended"} 1',
    );
  });

  it("passes a reset on, and says of a target that is away that it failed", async () => {
    await start({ rttMs: 10 });
    const { client, peer } = await joined();
    const heard = hear(client);
    peer.resetAndDestroy();
    await waitFor(() => expect(heard.error).toBe("ECONNRESET"));
    target.close();
    const late = connect({ host: "127.0.0.1", port });
    clients.push(late);
    const other = hear(late);
    await waitFor(() => expect(other.error).toBe("ECONNRESET"));
    await waitFor(() => {
      expect(registry.render()).toContain('outcome="reset"} 1');
      expect(registry.render()).toContain('outcome="target-failed"} 1');
    });
  });

  it("holds a sender back once so much is on its way, and loses nothing", async () => {
    await start({ rttMs: 100 });
    const { client, peer } = await joined();
    peer.pause();
    const total = 24 * IN_FLIGHT_BYTES_MAX;
    let accepts = 0;
    let isDone = false;
    const block = Buffer.alloc(IN_FLIGHT_BYTES_MAX / 4, "x");
    const pump = () => {
      while (accepts < total) {
        accepts += block.byteLength;
        if (!client.write(block)) break;
      }
      isDone = accepts >= total;
    };
    client.on("drain", pump);
    pump();
    // What two kernels and the link hold is far less; the rest is still with the sender.
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(isDone).toBe(false);
    let received = 0;
    peer.on("data", (chunk: Buffer) => (received += chunk.byteLength)).resume();
    await waitFor(() => expect(received).toBe(total));
  });

  it("lets no more bytes through in a second than it is told", async () => {
    await start({ bytesPerSecond: 100_000 });
    const { client, peer } = await joined();
    const heard = hear(client);
    const startedMs = performance.now();
    peer.write("x".repeat(20_000));
    await waitFor(() => expect(heard.text).toHaveLength(20_000));
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(200 - EARLY_MS_MAX);
  });
});

describe("a cut", () => {
  it("by refusal resets what is open and what comes", async () => {
    await start();
    const { client, peer } = await joined();
    const [atClient, atPeer] = [hear(client), hear(peer)];
    link.change({ cut: "refuse" });
    await waitFor(() => {
      expect(atClient.error).toBe("ECONNRESET");
      expect(atPeer.error).toBe("ECONNRESET");
    });
    // It may be reset before it has noticed that it was connected.
    const other = connect({ host: "127.0.0.1", port });
    const atOther = hear(other);
    await waitFor(() => expect(atOther.isClosed).toBe(true));
    expect(accepted).toHaveLength(1);
    link.change({ cut: "none" });
    await joined();
    expect(link.state).toMatchObject({ cut: "none", connections: 1 });
  });

  it("by reset lets new connections pass", async () => {
    await start();
    const { client } = await joined();
    const heard = hear(client);
    link.change({ cut: "reset" });
    await waitFor(() => expect(heard.error).toBe("ECONNRESET"));
    expect(link.state.cut).toBe("none");
    await joined();
  });

  it("by a black hole is silent both ways, and resets afterwards what lost bytes", async () => {
    await start();
    const { client, peer } = await joined();
    const [atClient, atPeer] = [hear(client), hear(peer)];
    link.change({ cut: "blackhole" });
    client.write("lost");
    peer.end("lost, too");
    const late = await dial();
    const atLate = hear(late);
    late.write("nobody hears it");
    await new Promise((resolve) => setTimeout(resolve, 100));
    const silence = { text: "", hasEnded: false, error: undefined, isClosed: false };
    expect(atClient).toEqual(silence);
    expect(atPeer).toEqual(silence);
    expect(atLate).toEqual(silence);
    link.change({ cut: "none" });
    await waitFor(() => {
      expect(atClient.error).toBe("ECONNRESET");
      expect(atLate.error).toBe("ECONNRESET");
    });
    await joined();
  });

  it("ends by itself when it was ordered for a time, with the round trip of the start", async () => {
    await start({ rttMs: 10 });
    link.change({ cut: "refuse", rttMs: 500 }, 50);
    expect(link.state).toMatchObject({ cut: "refuse", rttMs: 500 });
    await waitFor(() => expect(link.state).toMatchObject({ cut: "none", rttMs: 10 }));
    link.change({ cut: "refuse" }, 50);
    link.change({ cut: "refuse" });
    await new Promise((resolve) => setTimeout(resolve, 150));
    // The later order has no end.
    expect(link.state.cut).toBe("refuse");
  });

  it("ends in its time though another order about something else has none", async () => {
    await start({ rttMs: 10 });
    link.change({ cut: "refuse" }, 50);
    link.change({ rttMs: 500 });
    expect(link.state).toMatchObject({ cut: "refuse", rttMs: 500 });
    await waitFor(() => expect(link.state).toMatchObject({ cut: "none", rttMs: 10 }));
  });
});
