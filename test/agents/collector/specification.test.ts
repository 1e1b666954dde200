// The collector by a specification: real sources over HTTP, and the object's end of a real socket.

import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { startCollector, type Collector } from "../../../src/agents/collector/collector.ts";
import type { Configure } from "../../../src/agents/protocol/messages.ts";
import {
  metricsSpecificationSchema,
  ROW_FIELDS,
  type WireSpecification,
} from "../../../src/agents/protocol/metrics-specification.ts";
import {
  DEFAULT_SPECIFICATION,
  DEFAULT_TARGET,
} from "../../../src/scheduler/data-layer/compile.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import { DCGM, ENGINE_TEXTS, VLLM } from "../support/engine-texts.ts";
import { captureLogs } from "../support/logs.ts";
import { FakePoolObject } from "../support/pool-object.ts";

const servers: Server[] = [];
let object: FakePoolObject;
let collector: Collector | undefined;
let directory: string;
let registry: MetricRegistry;
const { logger } = captureLogs();

function configure(part: Partial<WireSpecification> = {}): Configure {
  const specification = metricsSpecificationSchema.parse({ ...DEFAULT_SPECIFICATION, ...part });
  return { t: "configure", scrapeIntervalMs: 50, metrics: [], specification };
}

async function serve(listener: RequestListener): Promise<number> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  servers.push(server);
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

interface Listed {
  readonly port: number;
  readonly address?: string;
  readonly name?: string;
  readonly labels?: object;
}

async function start(endpoints: readonly Listed[]): Promise<void> {
  const endpointsPath = join(directory, "endpoints.yaml");
  const listed = endpoints.map(({ port, name = `e${port}`, ...given }) => {
    return { address: "127.0.0.1", labels: {}, ...given, name, port };
  });
  await writeFile(endpointsPath, JSON.stringify({ endpoints: listed }));
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
/** What the object would know of an endpoint after all rows so far; undefined where it was told nothing. */
function known(endpoint: number, fieldCount: number = ROW_FIELDS.length): (number | undefined)[] {
  const values: (number | undefined)[] = Array.from({ length: fieldCount });
  for (const row of object.rows) {
    if (row.endpoint !== endpoint) continue;
    let at = 0;
    for (let field = 0; field < fieldCount; field++) {
      if ((row.mask & (1 << field)) !== 0) values[field] = row.values[at++];
    }
  }
  return values;
}

beforeEach(async () => {
  object = await FakePoolObject.start();
  object.configure = configure();
  registry = new MetricRegistry();
  directory = await mkdtemp(join(tmpdir(), "fairlead-specification-"));
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

describe("polling", () => {
  it("reads every engine's text where that engine has it", async () => {
    const endpoints = await Promise.all(
      ENGINE_TEXTS.map(async ({ engine, path, text }) => {
        const port = await serve((request, response) => {
          response.writeHead(request.url === path ? 200 : 404).end(text);
        });
        return { port, labels: { "llm-d.ai/engine-type": engine } };
      }),
    );
    await start(endpoints);
    await waitFor(() =>
      expect(endpoints.map((_, i) => known(i))).toEqual(ENGINE_TEXTS.map(({ fields }) => fields)),
    );
  });

  it("goes on tick after tick, and an error keeps what was told", async () => {
    let [status, waiting] = [200, 1];
    const port = await serve((_request, response) => {
      response.writeHead(status).end(VLLM.replace(" 7.0", ` ${waiting}`));
    });
    await start([{ port }]);
    for (waiting = 1; waiting < 4; waiting++)
      await waitFor(() => expect(known(0)[0]).toBe(waiting));
    status = 500;
    await waitFor(() => expect(object.rows.at(-1)).toMatchObject({ status: 2, mask: 0 }));
    expect(known(0).slice(0, 3)).toEqual([3, 3, 0.25]);
    expect(registry.render()).toContain(
      'llm_d_epp_datalayer_extract_errors_total{source_type="metrics-data-source",extractor_type="core-metrics-extractor"}',
    );
    status = 200;
    await waitFor(() => expect(known(0)[0]).toBe(4));
  });

  it("tells a sample in which a load is missing", async () => {
    let text = VLLM;
    const port = await serve((_request, response) => response.end(text));
    await start([{ port }]);
    await waitFor(() => expect(object.rows.at(-1)).toMatchObject({ status: 0 }));
    expect(object.rows.at(-1)).not.toHaveProperty("isPartial");
    text = VLLM.replace(/vllm:num_requests_waiting\{.*/, "").replace(" 3.0", " 5.0");
    await waitFor(() => expect(object.rows.at(-1)).toMatchObject({ status: 0, isPartial: true }));
    expect(known(0).slice(0, 2)).toEqual([7, 5]);
    text = VLLM;
    await waitFor(() => expect(object.rows.at(-1)).not.toHaveProperty("isPartial"));
  });

  it("of an engine that tells nonsense costs no other its metrics", async () => {
    const rank = (index: number) => `vllm:num_requests_waiting{engine="${index}"} 1e308\n`;
    const digits = `vllm:num_requests_running ${"1".repeat(1e6)}x\n`;
    const liar = await serve((_request, response) => {
      response.end(`${rank(0)}${rank(1)}${digits}vllm:kv_cache_usage_perc 0.5\n`);
    });
    const honest = await serve((_request, response) => response.end(VLLM));
    await start([{ port: liar }, { port: honest }]);
    await waitFor(() => expect(known(1)[0]).toBe(7));
    await waitFor(() => expect(known(0).slice(0, 3)).toEqual([undefined, undefined, 0.5]));
    expect(object.hellos).toHaveLength(1);
  });

  it("asks another port and path, as the specification says", async () => {
    const inference = await serve((_request, response) => response.writeHead(500).end());
    const port = await serve((request, response) => {
      response.writeHead(request.url === "/internal/metrics?x=1" ? 200 : 404).end(VLLM);
    });
    object.configure = configure({
      metrics: {
        ...DEFAULT_TARGET,
        tls: { ...DEFAULT_TARGET.tls },
        path: "/internal/metrics?x=1",
        port,
      },
    });
    await start([{ port: inference }]);
    await waitFor(() => expect(known(0)[0]).toBe(7));
  });
});

describe("other sources", () => {
  const dcgm = (port: number): WireSpecification["exporters"][number] => ({
    target: {
      ...DEFAULT_TARGET,
      tls: { ...DEFAULT_TARGET.tls },
      port,
      host: "node",
      intervalMs: 50,
    },
    reads: [
      {
        key: 0,
        sources: [{ series: "DCGM_FI_DEV_GPU_UTIL" }],
        combine: "max",
        scale: 0.01,
        ownLabel: "pod",
      },
    ],
  });

  it("bring scalars, and membership says their keys", async () => {
    const engine = await serve((_request, response) => response.end(VLLM));
    const exporter = await serve((_request, response) => response.end(DCGM));
    object.configure = configure({ scalars: ["gpu"], exporters: [dcgm(exporter)] });
    await start([{ port: engine, name: "vllm-0", labels: { nodeAddress: "127.0.0.1" } }]);
    await waitFor(() => expect(known(0, 7)[6]).toBeCloseTo(0.8));
    const membership = object.frames.findLast((frame) => frame.kind === "membership");
    expect(membership).toMatchObject({ scalars: ["gpu"] });
  });

  it("that fail do not touch what the engine says", async () => {
    const engine = await serve((_request, response) => response.end(VLLM));
    const exporter = await serve((_request, response) => response.writeHead(500).end());
    object.configure = configure({ scalars: ["gpu"], exporters: [dcgm(exporter)] });
    await start([{ port: engine, name: "vllm-0" }]);
    await waitFor(() =>
      expect(registry.render()).toContain('poll_errors_total{source_type="exporter"}'),
    );
    await waitFor(() =>
      expect(known(0, 7)).toEqual([7, 3, 0.25, 16, 27_407, 1_795_031_120, undefined]),
    );
    expect(object.rows.at(-1)).not.toHaveProperty("isPartial");
  });

  it("list models and adapters, again only when they change", async () => {
    let text = VLLM;
    let models: string[] = ["llama"];
    const port = await serve((request, response) => {
      const list = JSON.stringify({ data: models.map((id) => ({ id })) });
      response.end(request.url === "/v1/models" ? list : text);
    });
    object.configure = configure({
      models: { ...DEFAULT_TARGET, tls: { ...DEFAULT_TARGET.tls }, intervalMs: 50 },
    });
    await start([{ port }]);
    await waitFor(() =>
      expect(object.served.get(0)).toEqual({
        lora: { active: ["chat", "law"], waiting: ["sql"], max: 4 },
        models: ["llama"],
      }),
    );
    const told = object.modelFrameCount;
    await waitFor(() => expect(object.rows.length).toBeGreaterThan(8));
    expect(object.modelFrameCount).toBe(told);
    models = ["llama", "sql"];
    text = VLLM.replaceAll("chat, law", "sql");
    await waitFor(() =>
      expect(object.served.get(0)).toMatchObject({ lora: { active: ["sql"] }, models }),
    );
  });

  it("that are nowhere stop nobody, and the endpoint itself is asked in their place", async () => {
    const port = await serve((_request, response) => response.end(VLLM));
    const labels = { metricsAddress: "10.0.0.300", metricsPort: "99999" };
    const target = { ...DEFAULT_TARGET, tls: { ...DEFAULT_TARGET.tls }, host: "metrics" } as const;
    object.configure = configure({ metrics: target, models: target });
    await start([{ port, labels }, { port: port - 1 }]);
    await waitFor(() => expect(known(0)[0]).toBe(7));
    const errors = (source: string) =>
      registry.render().includes(`poll_errors_total{source_type="${source}"} `);
    expect(errors("metrics-data-source") && errors("models-data-source")).toBe(true);
  });

  it("of an endpoint whose address is none are unreachable, and the others are read", async () => {
    const port = await serve((_request, response) => response.end(VLLM));
    await start([{ port: 1, address: "10.0.0.300" }, { port }]);
    await waitFor(() => expect(known(1)[0]).toBe(7));
    await waitFor(() =>
      expect(object.rows).toContainEqual(expect.objectContaining({ endpoint: 0, status: 1 })),
    );
  });

  it("are read while the engine's own metrics are not", async () => {
    const exporter = await serve((_request, response) => response.end(DCGM));
    object.configure = configure({ metrics: null, scalars: ["gpu"], exporters: [dcgm(exporter)] });
    await start([{ port: 1, name: "vllm-1" }]);
    await waitFor(() => expect(known(0, 7)[6]).toBeCloseTo(0.99));
  });
});

describe("an object that is there again", () => {
  it("is told everything in the words it asks for, and nothing before it has asked", async () => {
    const port = await serve((_request, response) => response.end(VLLM));
    object.configure = configure({ scalars: ["gpu"] });
    await start([{ port }]);
    await waitFor(() => expect(object.served.size).toBe(1));
    // The release before: it sends no specification, and would refuse what needs one.
    const { metrics, scrapeIntervalMs } = object.configure;
    object.configure = undefined;
    object.served.clear();
    const hellos = object.hellos.length;
    object.socket!.terminate();
    await waitFor(() => expect(object.hellos.length).toBe(hellos + 1));
    const frames = object.frames.length;
    // Several times as long as results gather.
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(object.frames.length).toBe(frames);
    object.send({ t: "configure", scrapeIntervalMs, metrics });
    await waitFor(() => expect(object.frames.length).toBeGreaterThan(frames + 2));
    const after = object.frames.slice(frames);
    expect(after[0]).toMatchObject({ kind: "membership" });
    for (const frame of after) expect(frame).not.toHaveProperty("scalars");
    expect(object.served.size).toBe(0);
  });
});
