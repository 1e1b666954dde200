// TLS to engines with certificates that are made here: an authority, an engine of a name, a relay.

import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { TLSSocket } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { EndpointRecord } from "../../../src/agents/protocol/messages.ts";
import { attempt, type Attempt } from "../../../src/agents/relay/attempt.ts";
import { EnginePools } from "../../../src/agents/relay/engine-pools.ts";
import { ENGINE_TLS_FLAGS, engineTls } from "../../../src/agents/relay/engine-tls.ts";
import { EngineAsker } from "../../../src/agents/relay/learning/engine-asker.ts";
import { Renderer } from "../../../src/agents/relay/render/renderer.ts";
import { parseFlags, UsageError } from "../../../src/agents/process/flags.ts";

let directory: string;
const file = (name: string) => join(directory, name);
const pem = (name: string) => readFileSync(file(name), "utf8");

function openssl(...args: string[]): void {
  execFileSync("openssl", args, { cwd: directory, stdio: "ignore" });
}

function issue(name: string, subjectAltName: string): void {
  writeFileSync(file(`${name}.ext`), `subjectAltName=${subjectAltName}`);
  const request = ["-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`];
  openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", ...request);
  const signer = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1"];
  openssl(
    "x509",
    "-req",
    "-in",
    `${name}.csr`,
    ...signer,
    "-extfile",
    `${name}.ext`,
    "-out",
    `${name}.crt`,
  );
}

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "fairlead-tls-"));
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  openssl(
    "req",
    "-x509",
    ...curve,
    "-keyout",
    "ca.key",
    "-out",
    "ca.crt",
    "-days",
    "1",
    "-subj",
    "/CN=ca",
  );
  issue("engine", "DNS:engine.test");
  issue("host", "IP:127.0.0.1");
  issue("relay", "DNS:relay.test");
});
afterAll(() => rmSync(directory, { recursive: true }));

const servers: Server[] = [];
const opened: EnginePools[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((pools) => pools.destroy()));
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** An engine that answers with the name of whoever asks, if it is not told what to say. */
async function engine(name: string, asksForCertificate = false, says?: string): Promise<string> {
  const options = { key: pem(`${name}.key`), cert: pem(`${name}.crt`), ca: pem("ca.crt") };
  const mutual = { requestCert: asksForCertificate, rejectUnauthorized: asksForCertificate };
  const server = createServer({ ...options, ...mutual }, (request, response) => {
    const { subject } = (request.socket as TLSSocket).getPeerCertificate();
    response.end(says ?? (asksForCertificate ? subject.CN : "hello"));
  });
  server.on("tlsClientError", () => undefined);
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const record = (address: string, labels: Record<string, string> = {}): EndpointRecord => ({
  id: "default/e",
  address,
  engine: "vllm",
  labels,
});

function poolsOf(args: string[], endpoints: readonly EndpointRecord[]): EnginePools {
  const usage = { role: "relay", summary: "", flags: ENGINE_TLS_FLAGS };
  const pools = new EnginePools(engineTls(parseFlags(usage, args)));
  pools.update(endpoints);
  opened.push(pools);
  return pools;
}

function ask(pools: EnginePools, address: string): Promise<Attempt> {
  const signal = new AbortController().signal;
  const request = { path: "/", headers: {}, body: Buffer.from("{}"), signal, headHeldMsMax: 0 };
  return attempt(pools.get(address)!, request);
}

async function textOf(attempted: Attempt): Promise<string> {
  if (!("answer" in attempted)) throw new Error(attempted.outcome);
  return text(attempted.answer.body);
}

const ca = () => ["--engine-tls", "all", "--engine-tls-ca", file("ca.crt")];

describe("an engine that speaks TLS", () => {
  it("is believed where its authority and its host are right", async () => {
    const address = await engine("host");
    expect(await textOf(await ask(poolsOf(ca(), [record(address)]), address))).toBe("hello");
  });

  it("is asked for another name where one is set, and only for that", async () => {
    const address = await engine("engine");
    const named = [...ca(), "--engine-tls-server-name", "engine.test"];
    expect(await textOf(await ask(poolsOf(named, [record(address)]), address))).toBe("hello");
    expect(await ask(poolsOf(ca(), [record(address)]), address)).toMatchObject({
      outcome: "unreachable",
    });
    const other = [...ca(), "--engine-tls-server-name", "other.test"];
    expect(await ask(poolsOf(other, [record(address)]), address)).toMatchObject({
      outcome: "unreachable",
    });
  });

  it("is not believed without its authority", async () => {
    const address = await engine("host");
    const pools = poolsOf(["--engine-tls", "all"], [record(address)]);
    expect(await ask(pools, address)).toMatchObject({ outcome: "unreachable" });
  });

  it("that asks for a certificate sees the relay's", async () => {
    const address = await engine("host", true);
    const own = ["--engine-tls-cert", file("relay.crt"), "--engine-tls-key", file("relay.key")];
    const pools = poolsOf([...ca(), ...own], [record(address)]);
    expect(await textOf(await ask(pools, address))).toBe("relay");
    const without = await ask(poolsOf(ca(), [record(address)]), address);
    expect(without).not.toHaveProperty("answer");
  });

  it("is known by its label, and asked anew when that changes", async () => {
    const address = await engine("host");
    const labelled = record(address, { "fairlead/tls": "true" });
    const pools = poolsOf(["--engine-tls-ca", file("ca.crt")], [labelled]);
    expect(await textOf(await ask(pools, address))).toBe("hello");
    pools.update([record(address)]);
    expect(await ask(pools, address)).not.toHaveProperty("answer");
    pools.update([labelled]);
    expect(await textOf(await ask(pools, address))).toBe("hello");
  });
});

describe("flags that make no sense are refused, and no file is shown", () => {
  it.for([
    [["--engine-tls-ca", "missing.pem"], "missing.pem"],
    [["--engine-tls-cert", "relay.crt"], "together"],
    [["--engine-tls-cert", "relay.crt", "--engine-tls-key", "engine.key"], "key that of"],
    [["--engine-tls-cert", "relay.csr", "--engine-tls-key", "relay.key"], "PEM"],
  ] as const)("%j", ([args, why]) => {
    const paths = args.map((text) => (text.startsWith("--") ? text : file(text)));
    const make = () => poolsOf(paths, []);
    expect(make).toThrow(UsageError);
    expect(make).toThrow(why);
    expect(make).not.toThrow("PRIVATE");
  });
});

describe("prompts that engines are asked about", () => {
  const tlsOf = (args: string[]) =>
    engineTls(parseFlags({ role: "relay", summary: "", flags: ENGINE_TLS_FLAGS }, args));
  const flags = () => {
    const own = ["--engine-tls-cert", file("relay.crt"), "--engine-tls-key", file("relay.key")];
    return ["--engine-tls-ca", file("ca.crt"), ...own, "--engine-tls-server-name", "engine.test"];
  };
  const cases = [
    { scope: "labelled", labels: { "fairlead/tls": "true" } },
    { scope: "all", labels: {} },
  ];

  it.for(cases)("go by TLS to whoever renders them ($scope)", async ({ scope, labels }) => {
    const tls = tlsOf(["--engine-tls", scope, ...flags()]);
    const endpoint = record(await engine("engine", true), labels);
    const marks = { isMarked: () => false };
    const renderer = new Renderer({
      endpoints: () => [endpoint],
      tls,
      marks,
      rng: Math.random,
      url: undefined,
    });
    const signal = AbortSignal.timeout(5_000);
    const answer = await renderer.ask({ path: "/", body: Buffer.from("{}"), headers: {}, signal });
    expect(await answer!.body.text()).toBe("relay");
    await renderer.close();
  });

  it.for(cases)(
    "go by TLS to whoever says what they became ($scope)",
    async ({ scope, labels }) => {
      const args = ["--engine-tls", scope, ...flags()];
      const address = await engine("engine", true, '{"data":[]}');
      const { origin } = poolsOf(args, [record(address, labels)]).get(address)!;
      const asker = new EngineAsker(() => performance.now(), undefined, { engineTls: tlsOf(args) });
      expect(await asker.isAdapter(origin, "m")).toEqual({ ok: true, value: false });
      await asker.close();
    },
  );

  it("stay clear text where engines speak no TLS", () => {
    const endpoint = record("10.0.0.1:8000");
    expect(poolsOf([], [endpoint]).get(endpoint.address)!.origin).toBe("http://10.0.0.1:8000");
  });
});
