import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { startCollector, type Collector } from "../../../src/agents/collector/collector.ts";
import { SCRAPE_BYTES_MAX } from "../../../src/agents/collector/scrape-client.ts";
import type { Configure } from "../../../src/agents/protocol/messages.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import { captureLogs } from "../support/logs.ts";
import { FakePoolObject } from "../support/pool-object.ts";

const CONFIGURE: Configure = {
  t: "configure",
  scrapeIntervalMs: 50,
  metrics: [
    { field: "waiting", sources: { vllm: [{ series: "waiting" }], sglang: [{ series: "queue" }] } },
    { field: "kv-usage", sources: { vllm: [{ series: "usage" }, { series: "old_usage" }] } },
    { field: "kv-blocks", sources: { vllm: [{ series: "info", valueLabel: "blocks" }] } },
  ],
};

const servers: Server[] = [];
let object: FakePoolObject;
let collector: Collector | undefined;
let directory: string;
let registry: MetricRegistry;
const { logger } = captureLogs();

async function engine(listener: RequestListener): Promise<number> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  servers.push(server);
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

async function writeEndpoints(endpoints: object[]): Promise<string> {
  const path = join(directory, "endpoints.yaml");
  await writeFile(path, JSON.stringify({ endpoints }));
  return path;
}

async function start(ports: number[], labels: Record<string, string> = {}): Promise<void> {
  const endpointsPath = await writeEndpoints(
    ports.map((port) => ({ name: `e${port}`, address: "127.0.0.1", port, labels })),
  );
  collector = await startCollector({
    endpointsPath,
    pool: "p",
    agent: "c",
    connect: object.url,
    token: "token",
    logger,
    registry,
    sessionTiming: { retryBaseMs: 10, retryCapMs: 50 },
  });
}

const waitFor = (check: () => void) => vi.waitFor(check, { timeout: 15_000 });

beforeEach(async () => {
  object = await FakePoolObject.start();
  object.configure = CONFIGURE;
  registry = new MetricRegistry();
  directory = await mkdtemp(join(tmpdir(), "fairlead-collector-"));
});
afterEach(async () => {
  await collector?.close();
  collector = undefined;
  await object.close();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
  await rm(directory, { recursive: true });
});

describe("collector", () => {
  it("tells its endpoints first, then their metrics, then only changes", async () => {
    let waiting = 3;
    const port = await engine((request, response) => {
      expect(request.url).toBe("/metrics");
      response.end(`waiting ${waiting}\nold_usage 0.5\ninfo{blocks="100"} 1\n`);
    });
    await start([port]);
    await waitFor(() => expect(object.rows.length).toBeGreaterThan(2));
    expect(object.frames[0]).toMatchObject({
      seq: 1,
      kind: "membership",
      endpoints: [{ id: `default/e${port}`, address: `127.0.0.1:${port}`, engine: "vllm" }],
    });
    expect(object.rows[0]).toMatchObject({ endpoint: 0, status: 0, mask: 0b111 });
    expect(object.rows[0]!.values).toEqual([3, 0.5, 100]);
    expect(object.rows[1]).toMatchObject({ mask: 0, values: [] });
    waiting = 4;
    await waitFor(() => expect(object.rows).toContainEqual(expect.objectContaining({ mask: 1 })));
    expect(object.rows.find((row) => row.mask === 1)!.values).toEqual([4]);
    expect(registry.render()).toContain('fairlead_scrapes_total{outcome="ok"}');
    expect(collector!.isHealthy).toBe(true);
  });

  it("scrapes nothing until the object says what to read", async () => {
    object.configure = undefined;
    let scrapes = 0;
    const port = await engine((_request, response) => {
      scrapes += 1;
      response.end("waiting 1\n");
    });
    await start([port]);
    await waitFor(() => expect(object.frames).toHaveLength(1));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(scrapes).toBe(0);
    object.send(CONFIGURE);
    await waitFor(() => expect(scrapes).toBeGreaterThan(0));
  });

  it("reads the path and the series of the endpoint's engine type", async () => {
    const port = await engine((_request, response) => response.end("waiting 1\nqueue 9\n"));
    await start([port], { "llm-d.ai/engine-type": "sglang" });
    await waitFor(() => expect(object.rows[0]).toMatchObject({ mask: 1, values: [9] }));
  });

  it("reports an engine that is gone, and its return", async () => {
    const port = await engine((_request, response) => response.end("waiting 1\n"));
    await start([port]);
    await waitFor(() => expect(object.rows.at(-1)).toMatchObject({ status: 0 }));
    const [server] = servers;
    server!.closeAllConnections();
    await new Promise((resolve) => server!.close(resolve));
    await waitFor(() => expect(object.rows.at(-1)).toMatchObject({ status: 1, mask: 0 }));
    server!.listen(port, "127.0.0.1");
    await waitFor(() => expect(object.rows.at(-1)).toMatchObject({ status: 0 }));
    expect(registry.render()).toContain('fairlead_scrapes_total{outcome="unreachable"}');
  });

  it.for([
    { name: "an error page", answer: { status: 500, body: "waiting 1\n" } },
    { name: "a page without the series", answer: { status: 200, body: "<html>hello</html>" } },
    { name: "an endless page", answer: { status: 200, body: "#".repeat(SCRAPE_BYTES_MAX + 1) } },
  ])("reports $name as malformed", async ({ answer }) => {
    const port = await engine((_request, response) =>
      response.writeHead(answer.status).end(answer.body),
    );
    await start([port]);
    await waitFor(() => expect(object.rows[0]).toMatchObject({ status: 2, mask: 0, values: [] }));
  });

  it("never scrapes an endpoint twice at once, and gives a hung one up", async () => {
    let open = 0;
    let openMax = 0;
    const hung = await engine((request) => {
      open += 1;
      openMax = Math.max(openMax, open);
      request.socket.once("close", () => (open -= 1));
    });
    const good = await engine((_request, response) => response.end("waiting 1\n"));
    await start([hung, good]);
    await waitFor(() =>
      expect(object.rows).toContainEqual(expect.objectContaining({ endpoint: 0, status: 1 })),
    );
    // The good one went on meanwhile, many times in the second the hung one took.
    expect(object.rows.filter((row) => row.endpoint === 1).length).toBeGreaterThan(5);
    expect(openMax).toBe(1);
  });

  it("says everything again when asked to and after a reconnect", async () => {
    const port = await engine((_request, response) => response.end("waiting 1\nusage 0\n"));
    await start([port]);
    const fullRows = () => object.rows.filter((row) => row.mask === 0b11).length;
    const memberships = () => object.frames.filter((frame) => frame.kind === "membership").length;
    await waitFor(() => expect(fullRows()).toBe(1));
    object.send({ t: "resync", reason: "gap" });
    await waitFor(() => expect([fullRows(), memberships()]).toEqual([2, 2]));
    object.socket!.terminate();
    await waitFor(() => expect([fullRows(), memberships()]).toEqual([3, 3]));
    const seqs = object.frames.map((frame) => frame.seq);
    expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
  });

  it("follows the endpoints file, and full rows follow the new membership", async () => {
    const first = await engine((_request, response) => response.end("waiting 1\n"));
    const second = await engine((_request, response) => response.end("waiting 2\n"));
    await start([first]);
    await waitFor(() => expect(object.rows.length).toBeGreaterThan(0));
    await writeEndpoints([
      { name: "b", address: "127.0.0.1", port: second },
      { name: "a", address: "127.0.0.1", port: first },
    ]);
    const changed = () =>
      object.frames.findIndex(
        (frame) => frame.kind === "membership" && frame.endpoints.length === 2,
      );
    await waitFor(() => expect(changed()).toBeGreaterThan(0));
    const rowsAfter = () =>
      object.frames
        .slice(changed())
        .flatMap((frame) => (frame.kind === "metrics" ? frame.rows : []));
    await waitFor(() => expect(new Set(rowsAfter().map((row) => row.endpoint)).size).toBe(2));
    expect(rowsAfter().find((row) => row.endpoint === 0)!.values).toEqual([2]);
    expect(rowsAfter().find((row) => row.endpoint === 1)!.values).toEqual([1]);
  });
});
