// The sidecar in the place of llm-d's: unsigned requests with the headers of an endpoint picker, real sockets.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer, type AddressInfo } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { ConnectorTable } from "../../../src/agents/relay/disaggregation/connector-table.ts";
import { CONNECTOR_DEFAULTS } from "../../../src/agents/relay/disaggregation/connectors/peers.ts";
import { PREFILL_POLICY } from "../../../src/agents/relay/disaggregation/split-request.ts";
import { RELAY_LIMITS } from "../../../src/agents/relay/relay.ts";
import { ENGINE_TLS_DEFAULTS } from "../../../src/agents/relay/engine-tls.ts";
import { startSidecar, type SidecarOptions } from "../../../src/agents/sidecar/sidecar.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import { startAgentProcess } from "../support/agent-process.ts";
import { captureLogs } from "../support/logs.ts";
import { startScriptedEngine, type Script, type ScriptedEngine } from "../support/split-relay.ts";

const PARAMS = '{"remote_engine_id":"p","n":12345678901234567890}';
const ANSWER =
  '{"choices":[],"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":8}}}';
const CHAT = '{"model":"m","max_tokens":7,"messages":[]}';

const json =
  (text: string, status = 200): Script =>
  (response) =>
    response.writeHead(status, { "content-type": "application/json" }).end(text);
const prefilled = json(
  `{"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":2}},"kv_transfer_params":${PARAMS}}`,
);

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});
const engine = async (script: Script) => stack.use(await startScriptedEngine(script));
const portOf = ({ address }: Pick<ScriptedEngine, "address">) => Number(address.split(":")[1]);

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function sidecar(
  decoder: ScriptedEngine,
  listed: readonly Pick<ScriptedEngine, "address">[],
  more: Partial<SidecarOptions> = {},
) {
  const directory = await mkdtemp(join(tmpdir(), "fairlead-sidecar-"));
  stack.defer(() => rm(directory, { recursive: true }));
  const endpointsPath = join(directory, "endpoints.json");
  const endpoints = listed.map((each, i) => {
    const [address] = each.address.split(":");
    return { name: `p${i}`, address, port: portOf(each) };
  });
  await writeFile(endpointsPath, JSON.stringify({ endpoints }));
  const registry = new MetricRegistry();
  const started = await startSidecar({
    host: "127.0.0.1",
    port: 0,
    modelServerPort: portOf(decoder),
    dataParallelSize: 1,
    endpointsPath,
    bodyBytesMax: 100_000,
    samplesPrefillers: false,
    disaggregation: {
      connectors: new ConnectorTable("nixlv2", CONNECTOR_DEFAULTS),
      prefillPolicy: PREFILL_POLICY,
    },
    engineTls: ENGINE_TLS_DEFAULTS,
    logger: captureLogs("sidecar").logger,
    registry,
    ...more,
  });
  stack.defer(() => started.close());
  const url = `http://127.0.0.1:${started.ports[0]}`;
  const post = (headers: Record<string, string>, path = "/v1/chat/completions", body = CHAT) =>
    fetch(url + path, { method: "POST", headers, body });
  return { url, post, registry, port: started.ports[0]!, endpointsPath };
}

describe("a request with a prefiller", () => {
  const openai = (key: string, cached: number) =>
    `"${key}":40,"${key}_details":{"cached_tokens":${cached}}`;
  const anthropic = (cached: number) =>
    `"input_tokens":${40 - cached},"cache_read_input_tokens":${cached}`;
  it.for([
    ["/v1/chat/completions", "max_tokens", (n: number) => openai("prompt_tokens", n)],
    ["/v1/completions?x=1", "max_tokens", (n: number) => openai("prompt_tokens", n)],
    ["/v1/messages", "max_tokens", anthropic],
    ["/v1/responses", "max_output_tokens", (n: number) => openai("input_tokens", n)],
    ["/inference/v1/generate", "sampling_params", (n: number) => openai("prompt_tokens", n)],
  ] as const)("on %s is split", async ([path, limit, usage]) => {
    const said = (n: number) =>
      `{"tools":[{"properties":{"usage":{}}}],"choices":[],"usage":{${usage(n)}}}`;
    const prefill = `{"usage":{${usage(2)}},"kv_transfer_params":${PARAMS}}`;
    const [prefiller, decoder] = [await engine(json(prefill)), await engine(json(said(39)))];
    const { post } = await sidecar(decoder, [prefiller]);
    const headers = { "x-prefiller-host-port": prefiller.address, authorization: "Bearer k" };
    const answer = await post({ ...headers, "x-request-id": "r-1" }, path);
    expect(await answer.text()).toBe(said(2));
    const legs = [prefiller.legs[0]!, decoder.legs[0]!];
    expect(legs.map(({ url }) => url)).toEqual([path, path]);
    expect(JSON.parse(legs[0]!.text)).toHaveProperty(limit);
    expect(legs[1]!.text).toContain(`"kv_transfer_params":${PARAMS}`);
    for (const { headers: seen } of legs) {
      expect(seen).toMatchObject({ authorization: "Bearer k", "x-request-id": "r-1" });
      expect(Object.keys(seen).filter((name) => name.includes("host-port"))).toEqual([]);
    }
  });

  it("that is not listed is served without asking it", async () => {
    const [stranger, decoder] = [await engine(prefilled), await engine(json(ANSWER))];
    const { post, registry } = await sidecar(decoder, []);
    const answer = await post({ "x-prefiller-host-port": stranger.address });
    expect(answer.status).toBe(200);
    expect([stranger.legs.length, decoder.legs[0]!.text]).toEqual([0, CHAT]);
    expect(registry.render()).toContain('fairlead_relay_stage_off_list_total{stage="prefill"} 1');
  });

  it("is the engine's beside it while it cannot be asked", async () => {
    const [prefiller, decoder] = [await engine(json("{}", 503)), await engine(json(ANSWER))];
    const { post } = await sidecar(decoder, [prefiller]);
    expect((await post({ "x-prefiller-host-port": prefiller.address })).status).toBe(200);
    expect(decoder.legs[0]!.text).toBe(CHAT);
  });

  it("names several, of which one is asked, any where sampling is on", async () => {
    const prefillers = [await engine(prefilled), await engine(prefilled), await engine(prefilled)];
    const decoder = await engine(json(ANSWER));
    const { post } = await sidecar(decoder, prefillers, { samplesPrefillers: true });
    const named = prefillers.map(({ address }) => address).join(",");
    for (let i = 0; i < 40; i++) {
      await (await post({ "x-prefiller-host-port": named })).text();
    }
    const counts = prefillers.map(({ legs }) => legs.length);
    expect(counts.reduce((a, b) => a + b)).toBe(40);
    expect(counts.every((count) => count > 0)).toBe(true);
  });
});

describe("the engine beside it, as others name it", () => {
  it.for([
    { by: "its own port", host: "127.0.0.1", isEngine: true },
    { by: "the sidecar's", host: "127.0.0.1", isEngine: false },
    { by: "a name that was given", host: "decoder.pod", isEngine: false },
  ])("is neither its prefiller nor its source: by $by", async ({ host, isEngine }) => {
    const connectors = new ConnectorTable("offloading", CONNECTOR_DEFAULTS);
    const disaggregation = { connectors, prefillPolicy: PREFILL_POLICY };
    const decoder = await engine(json(ANSWER));
    // It is listed under a port that is known before there is a sidecar.
    const port = isEngine ? portOf(decoder) : await freePort();
    const { post } = await sidecar(decoder, [{ address: `${host}:${port}` }], {
      disaggregation,
      ownHost: "Decoder.Pod",
      port: isEngine ? 0 : port,
    });
    for (const name of ["x-prefiller-host-port", "x-kv-cache-source-host-port"]) {
      expect((await post({ [name]: `${host}:${port}` })).status).toBe(200);
    }
    expect(decoder.legs.map(({ text }) => text)).toEqual([CHAT, CHAT]);
  });

  it("is no other engine of the host", async () => {
    const [prefiller, decoder] = [await engine(prefilled), await engine(json(ANSWER))];
    const { post } = await sidecar(decoder, [prefiller], { ownHost: "127.0.0.1" });
    await (await post({ "x-prefiller-host-port": prefiller.address })).text();
    expect(prefiller.legs).toHaveLength(1);
  });
});

describe("everything else goes to the engine beside it, as it is", () => {
  it("with its method, path, headers and body, and the answer's", async () => {
    const decoder = await engine((response) => {
      response.writeHead(201, { "x-engine": "e", "set-cookie": ["a=1", "b=2"] }).end("made");
    });
    const { url } = await sidecar(decoder, []);
    const answer = await fetch(`${url}/v1/load_lora_adapter?a=b`, {
      method: "PUT",
      headers: { "x-mine": "m", "x-prefiller-host-port": "10.0.0.1:1" },
      body: "adapter",
    });
    expect([answer.status, await answer.text()]).toEqual([201, "made"]);
    expect(answer.headers.get("x-engine")).toBe("e");
    expect(answer.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    const [leg] = decoder.legs;
    expect([leg!.url, leg!.text, leg!.headers["x-mine"]]).toEqual([
      "/v1/load_lora_adapter?a=b",
      "adapter",
      "m",
    ]);
    expect(leg!.headers).not.toHaveProperty("x-prefiller-host-port");
  });

  it("but /health, which the sidecar answers itself", async () => {
    const decoder = await engine(json("{}", 500));
    const { url } = await sidecar(decoder, []);
    expect((await fetch(`${url}/health`)).status).toBe(200);
    expect((await fetch(`${url}/metrics`)).status).toBe(500);
    expect(decoder.legs.map((leg) => leg.url)).toEqual(["/metrics"]);
  });

  it("503 while the engine is down", async () => {
    const decoder = await engine(json("{}"));
    const { url, post } = await sidecar(decoder, []);
    await decoder[Symbol.asyncDispose]();
    expect((await fetch(`${url}/v1/models`)).status).toBe(503);
    expect((await post({})).status).toBe(503);
  });

  it("and nothing to another host", async () => {
    const [stranger, decoder] = [await engine(json("{}")), await engine(json("{}"))];
    const { port } = await sidecar(decoder, []);
    for (const line of [
      `GET http://${stranger.address}/metrics HTTP/1.1`,
      `CONNECT ${stranger.address} HTTP/1.1`,
    ]) {
      const socket = connect({ port, host: "127.0.0.1" });
      socket.on("error", () => undefined);
      socket.write(`${line}\r\nhost: ${stranger.address}\r\nconnection: close\r\n\r\n`);
      const chunks: Buffer[] = [];
      socket.on("data", (chunk: Buffer) => chunks.push(chunk));
      await once(socket, "close");
      expect(Buffer.concat(chunks).toString()).not.toMatch(/^HTTP\/1\.1 2/);
    }
    expect([stranger.legs.length, decoder.legs.length]).toEqual([0, 0]);
  });
});

describe("bounds", () => {
  it("are of what bodies are long, also where their senders do not say", async () => {
    const streams: Script = (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).write("data: {}\n\n");
    };
    const decoder = await engine(streams);
    const bodyBytesMax = RELAY_LIMITS.heldBodyBytesMax / 2;
    const { url } = await sidecar(decoder, [], { bodyBytesMax });
    const statuses: number[] = [];
    const leaving = new AbortController();
    for (let i = 0; i < 4; i++) {
      const body = ReadableStream.from([Buffer.from(CHAT)]);
      const how = { method: "POST", body, duplex: "half", signal: leaving.signal } as const;
      statuses.push((await fetch(`${url}/v1/chat/completions`, how)).status);
    }
    leaving.abort();
    expect(statuses).toEqual([200, 200, 200, 200]);
    expect(decoder.legs[0]!.headers["content-length"]).toBe(String(CHAT.length));
  });

  it("too large a body, too many prefillers, a rank that is not there", async () => {
    const decoder = await engine(json("{}"));
    const { post } = await sidecar(decoder, []);
    const large = await post({}, "/v1/completions", `{"prompt":"${"x".repeat(100_000)}"}`);
    expect(large.status).toBe(413);
    const many = Array.from({ length: 9 }, (_, i) => `10.0.0.1:${i + 1}`).join(",");
    expect((await post({ "x-prefiller-host-port": many })).status).toBe(400);
    expect((await post({ "x-data-parallel-host-port": "10.0.0.1:1" })).status).toBe(400);
    expect(decoder.legs).toHaveLength(0);
  });
});

it("a header names the rank that is to decode, by the port where the sidecar has it", async () => {
  const decoder = await engine(json("{}"));
  const { post, port } = await sidecar(decoder, []);
  expect((await post({ "x-data-parallel-host-port": `10.0.0.9:${port}` })).status).toBe(200);
  expect((await post({ "x-data-parallel-host-port": `10.0.0.9:${port + 1}` })).status).toBe(400);
});

it("runs as a process with llm-d's flags, and ends when it is told to", async () => {
  const [prefiller, decoder] = [await engine(prefilled), await engine(json(ANSWER))];
  const { endpointsPath } = await sidecar(decoder, [prefiller]);
  const flags = ["--host", "127.0.0.1", "--port", "0", "--endpoints", endpointsPath];
  const model = ["--model-server-port", String(portOf(decoder)), "--kv-connector", "nixlv2"];
  const prefill = ["--prefill-max-retries", "0", "--enable-prefiller-sampling"];
  const agent = await startAgentProcess(["sidecar", ...flags, ...model, ...prefill]);
  const { ports } = agent.ready as { ports: number[] };
  const answer = await fetch(`http://127.0.0.1:${ports[0]}/v1/completions`, {
    method: "POST",
    headers: { "x-prefiller-host-port": prefiller.address },
    body: '{"model":"m","prompt":"p"}',
  });
  expect(answer.status).toBe(200);
  await answer.text();
  expect(prefiller.legs).toHaveLength(1);
  agent.child.kill("SIGTERM");
  expect(await agent.exited).toBe(0);
  expect(agent.output.stderr).not.toContain('"prompt":"p"');
});
