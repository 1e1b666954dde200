import { createServer, type Server } from "node:http";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import {
  commonModels,
  endpointEntries,
  probeEngine,
  probeListed,
  type EngineProbe,
} from "../../../src/cli/up/engines.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections();
});

async function engine(status: number, body: string): Promise<string> {
  const server = createServer((request, response) => {
    response.writeHead(request.url === "/v1/models" ? status : 404).end(body);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const serving = (owner: string, ...models: string[]) =>
  JSON.stringify({ object: "list", data: models.map((id) => ({ id, owned_by: owner })) });

const probe = (origin: string, ...models: string[]): EngineProbe => ({
  origin,
  address: new URL(origin).host,
  models,
  engineType: "vllm",
});

describe("probeEngine", () => {
  it("finds models, address and type", async () => {
    const origin = await engine(200, serving("sglang", "a", "b"));
    await expect(probeEngine(origin)).resolves.toEqual({
      origin,
      address: origin.slice("http://".length),
      models: ["a", "b"],
      engineType: "sglang",
    });
  });

  it("names the URL and the reason when nothing listens there", async () => {
    const origin = await engine(200, "");
    await new Promise((resolve) => servers.pop()!.close(resolve));
    await expect(probeEngine(origin)).rejects.toThrow(
      new RegExp(`The engine at ${origin} does not answer: connect ECONNREFUSED`),
    );
  });

  it.for([
    { status: 401, body: "", says: "asks for an API key" },
    { status: 500, body: "", says: "with 500" },
    { status: 200, body: "<html>", says: "something else than a list of models" },
    { status: 200, body: serving("vllm"), says: "serves no model yet" },
  ])("says what is wrong with an answer of $status $body", async ({ status, body, says }) => {
    await expect(probeEngine(await engine(status, body))).rejects.toThrow(says);
  });
});

describe("commonModels", () => {
  const probes = [probe("http://a:1", "x", "y"), probe("http://b:1", "y", "z")];

  it("are those that every engine serves, or the wanted one", () => {
    expect(commonModels(probes, undefined)).toEqual(["y"]);
    expect(commonModels(probes, "y")).toEqual(["y"]);
  });

  it("refuses with the list of what is served", () => {
    expect(() => commonModels(probes, "x")).toThrow(/Not every engine serves x:\n.*a:1: x, y/);
    expect(() => commonModels([probes[0]!, probe("http://c:1", "z")], undefined)).toThrow(
      "No model is served by all",
    );
  });
});

describe("endpointEntries", () => {
  it("takes brackets off an IPv6 host and fills in the port", () => {
    expect(endpointEntries([probe("http://[::1]:8000"), probe("http://a")])).toMatchObject([
      { name: "engine-0", address: "::1", port: 8000 },
      { name: "engine-1", address: "a", port: 80 },
    ]);
  });
});

describe("probeListed", () => {
  const dir = mkdtempSync(join(tmpdir(), "engines-test-"));
  const list = (...origins: string[]) => {
    const file = join(dir, "endpoints.yaml");
    const rows = origins.map((origin, i) => {
      const { hostname, port } = new URL(origin);
      return `  - { name: e${i}, address: ${hostname}, port: "${port}" }`;
    });
    writeFileSync(file, `endpoints:\n${rows.join("\n")}\n`);
    return file;
  };

  it("warns of an engine that is down as long as another one answers", async () => {
    const up = await engine(200, serving("vllm", "m"));
    const down = await engine(500, "");
    const warnings: string[] = [];
    const probes = await probeListed(list(down, up), (line) => warnings.push(line));
    expect(probes.map((each) => each.origin)).toEqual([up]);
    expect(warnings).toEqual([expect.stringContaining(down)]);
    await expect(probeListed(list(down), () => {})).rejects.toThrow("None of the engines");
  });

  it("says what is wrong with the file", async () => {
    const file = join(dir, "bad.yaml");
    writeFileSync(file, "endpoints: []");
    await expect(probeListed(file, () => {})).rejects.toThrow("endpoints: the list is empty");
    writeFileSync(file, "endpoints:\n  - [");
    await expect(probeListed(file, () => {})).rejects.toThrow(/bad\.yaml:\d is not YAML/);
    rmSync(dir, { recursive: true });
    await expect(probeListed(file, () => {})).rejects.toThrow("Cannot read --endpoints");
  });
});
