// How `fairlead up` starts, refuses to start, and ends.

import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  eventually,
  fairlead,
  freePort,
  isAlive,
  startEngines,
  startFairleadIn,
  type Fairlead,
} from "./harness.ts";

const root = mkdtempSync(join(tmpdir(), "fairlead-lifecycle-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Agents whose parent is gone may still drain for 5 seconds. */
const GONE_MS_MAX = 10_000;

async function allGone(pids: readonly number[]): Promise<boolean> {
  const isGone = () => (pids.some(isAlive) ? undefined : true);
  return eventually("every process has ended", isGone, GONE_MS_MAX);
}

// Some start it twice, and one waits for half a minute's pauses: they do so beside each other, in folders of their own.
describe.concurrent("fairlead up", { timeout: 60_000 }, () => {
  const start = (stateDir: string) => startFairleadIn(stateDir, "--engines", "2");

  const greet = (of: Fairlead) =>
    of.client.chat.completions.create({
      model: of.model,
      messages: [{ role: "user", content: "Hello" }],
    });

  it("prints one line of JSON, serves, and leaves no process behind on Ctrl-C", async () => {
    const stateDir = join(root, "interrupted");
    await using running = await start(stateDir);
    expect(Object.keys(running.pids).toSorted()).toEqual([
      "collector-local",
      "engines-local",
      "front",
      "relay-local",
      "workerd",
    ]);
    expect((await greet(running)).choices).toHaveLength(1);
    const lock = JSON.parse(readFileSync(join(stateDir, "running.json"), "utf8")) as {
      socketDir: string;
    };
    expect(existsSync(lock.socketDir)).toBe(true);
    const { code, stdout } = await running.interrupt();
    expect(code).toBe(0);
    expect(stdout.trimEnd().split("\n")).toHaveLength(1);
    expect(Object.keys(JSON.parse(stdout) as object)).toEqual([
      "url",
      "key",
      "adminKey",
      "model",
      "pids",
      "clusters",
    ]);
    expect(Object.values(running.pids).some(isAlive)).toBe(false);
    expect(existsSync(lock.socketDir)).toBe(false);
    expect(existsSync(join(stateDir, "running.json"))).toBe(false);
  });

  it("leaves nothing behind when it is killed, and starts over what is left with its keys", async () => {
    const stateDir = join(root, "killed");
    await using killed = await start(stateDir);
    killed.invocation.child.kill("SIGKILL");
    expect(await allGone(Object.values(killed.pids))).toBe(true);
    expect(statSync(join(stateDir, "keys.json")).mode & 0o777).toBe(0o600);
    await using running = await start(stateDir);
    expect(running.key).toBe(killed.key);
    expect(running.adminKey).toBe(killed.adminKey);
    expect((await greet(running)).choices).toHaveLength(1);
    const second = await fairlead(["up", "--port", "0", "--state-dir", stateDir]);
    expect(second).toMatchObject({ code: 1, stdout: "" });
    expect(second.stderr).toContain("already running with this state directory");
    expect(second.stderr).toContain(running.url);
  });

  it("gives up on a process that cannot stay up, says which one, and ends with it", async () => {
    await using running = await start(join(root, "given-up"));
    const before = { ...running.pids, ...running.pidsNow() };
    // Each time it is back, until it is not.
    const kill = setInterval(() => {
      const pid = running.pidsNow()["relay-local"];
      if (pid !== undefined && isAlive(pid)) process.kill(pid, "SIGKILL");
    }, 20);
    const { code, stdout, stderr } = await running.invocation.finished;
    clearInterval(kill);
    expect(code).toBe(1);
    expect(stdout.trimEnd().split("\n")).toHaveLength(1);
    expect(stderr).toContain("relay-local ended by SIGKILL; started again\n");
    expect(stderr).toMatch(
      /relay-local was started again 8 times in 60 seconds; giving up\. relay-local ended by SIGKILL\.\n[^]*Its log is .*relay-local\.log/,
    );
    expect(await allGone(Object.values(before))).toBe(true);
  });
});

describe.concurrent("fairlead up with engines of one's own", () => {
  let engines: Awaited<ReturnType<typeof startEngines>>;
  beforeAll(async () => {
    engines = await startEngines(2);
  });
  afterAll(() => engines?.child.kill("SIGKILL"));

  it("asks them for their model and routes to them", async () => {
    const args = engines.origins.flatMap((origin) => ["--endpoint", origin]);
    await using up = await startFairleadIn(join(root, "own"), ...args);
    expect(up.model).toBe("fairlead-sim");
    expect(Object.keys(up.pids)).not.toContain("engines-local");
    const { response } = await up.client.chat.completions
      .create({ model: up.model, messages: [{ role: "user", content: "Hello" }] })
      .withResponse();
    expect(engines.origins).toContain(`http://${response.headers.get("x-fairlead-endpoint")}`);
  });
});

describe.concurrent("fairlead up with a configuration of one's own", () => {
  it("runs the agents of pools with a local relay, and leaves the others alone", async () => {
    const pool = (name: string, url: string) => ({
      name,
      region: "here",
      models: [`model-of-${name}`],
      agentToken: `agent-token-of-${name}`,
      relays: [{ url, keys: [{ id: "k1", secret: `relay-secret-of-${name}` }] }],
    });
    const file = join(root, "fairlead.yaml");
    const config = {
      version: 1,
      pools: [
        pool("one", `http://127.0.0.1:${await freePort()}`),
        pool("two", `http://127.0.0.1:${await freePort()}`),
        pool("far", "https://relay.example.com"),
      ],
      tenants: [{ id: "acme", keys: ["sk-acme-0123456789"] }],
    };
    // JSON is a part of YAML.
    writeFileSync(file, JSON.stringify(config));
    const args = ["--config", file, "--engines", "1"];
    await using up = await startFairleadIn(join(root, "configured"), ...args);
    expect(up.key).toBe("sk-acme-0123456789");
    expect(Object.keys(up.pids).filter((name) => name.startsWith("relay-"))).toEqual([
      "relay-one",
      "relay-two",
    ]);
    for (const name of ["one", "two"]) {
      const answer = await up.client.chat.completions.create({
        model: `model-of-${name}`,
        messages: [{ role: "user", content: "Hello" }],
      });
      expect(answer.model).toBe(`model-of-${name}`);
    }
  });
});

describe("fairlead up refuses", () => {
  const dir = join(root, "refusing");
  const up = (...args: string[]) =>
    fairlead(["up", "--json", "--port", "0", "--state-dir", dir, ...args]);

  it("a port that is taken", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const { code, stdout, stderr } = await up("--port", String(port));
    server.close();
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain(`Port ${port} is taken`);
    expect(stderr).not.toContain("    at ");
  });

  it("an engine that does not answer", async () => {
    const { code, stdout, stderr } = await up("--endpoint", "http://127.0.0.1:1");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("The engine at http://127.0.0.1:1 does not answer: connect ECONN");
  });

  it("a parameter that the simulated engines do not have", async () => {
    const { code, stderr } = await up("--engine-arg", "max-nmu-seqs=3");
    expect(code).toBe(1);
    expect(stderr).toMatch(/engines-local ended with status 2/);
    expect(stderr).toContain("Unknown flag --max-nmu-seqs");
  });

  it("a configuration with mistakes", async () => {
    const file = join(root, "bad.yaml");
    const { code, stderr } = await up("--config", file);
    expect(code).toBe(1);
    expect(stderr).toContain(`Cannot read ${file}`);
  });

  it("without leaving its lock or socket behind", () => {
    expect(existsSync(join(dir, "running.json"))).toBe(false);
    expect(existsSync(dirname(dir))).toBe(true);
  });
});
