// The Worker and its objects in processes of their own, joined as `fairlead up --coordinators` joins
// them. The rest of the product must not notice.

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { coordinatorOf } from "../../src/config/coordinators.ts";
import { eventually, freePort, startFairleadIn, type Fairlead } from "./harness.ts";

/** One for each coordinator. */
const POOLS = ["local", "qwen"] as const;

const root = mkdtempSync(join(tmpdir(), "fairlead-split-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const configFile = join(root, "fairlead.yaml");
let up: Fairlead;
beforeAll(async () => {
  const pool = async (name: string) => ({
    name,
    region: "here",
    models: [`model-of-${name}`],
    // What is tested is in the objects; on a busy machine they are far enough away to be left out.
    decide: "consult",
    agentToken: `agent-token-of-${name}`,
    relays: [
      {
        url: `http://127.0.0.1:${await freePort()}`,
        keys: [{ id: "k1", secret: `relay-secret-of-${name}` }],
      },
    ],
  });
  const config = {
    version: 1,
    pools: await Promise.all(POOLS.map(pool)),
    tenants: [{ id: "acme", keys: ["sk-acme-0123456789"] }],
  };
  writeFileSync(configFile, JSON.stringify(config));
  up = await start("--coordinators", "2");
});
afterAll(() => up?.[Symbol.asyncDispose]());

/** Always in the same state directory. */
const start = (...args: string[]) =>
  startFairleadIn(join(root, "state"), "--engines", "2", "--config", configFile, ...args);

const ask = (name: string, content: string) =>
  up.client.chat.completions
    .create({ model: `model-of-${name}`, messages: [{ role: "user", content }] })
    .withResponse();

const openTickets = async (name: string) => {
  const state = (await up.admin(`/pools/${name}`)) as { tickets: { open: number } };
  return state.tickets.open;
};

const isSettled = (name: string) =>
  eventually(`${name} has no open ticket`, async () =>
    (await openTickets(name)) === 0 ? true : undefined,
  );

describe("fairlead up --coordinators 2", { timeout: 60_000 }, () => {
  it("runs an edge and two coordinators, each with a storage folder of its own", () => {
    expect(Object.keys(up.pids)).toEqual(
      expect.arrayContaining(["edge", "coordinator-0", "coordinator-1", "front"]),
    );
    expect(Object.keys(up.pids)).not.toContain("workerd");
    const namespaces = (folder: string) => readdirSync(join(up.stateDir, folder)).toSorted();
    expect(namespaces("storage")).toEqual([
      "fairlead-DirectoryObject",
      "fairlead-PoolObject",
      "fairlead-SettingsObject",
    ]);
    expect(namespaces("storage-1")).toEqual(["fairlead-PoolObject"]);
  });

  it("has pools of both coordinators tell the directory how they are", async () => {
    const listed = await eventually("both pools were heard of lately", async () => {
      const { pools } = (await up.admin("/pools")) as {
        pools: readonly { pool: string; state: string; summary: { membership?: object } | null }[];
      };
      return pools.every(({ state }) => state === "fresh") ? pools : undefined;
    });
    expect(listed).toMatchObject(
      POOLS.map((pool) => ({ pool, summary: { membership: { endpoints: 2, usable: 2 } } })),
    );
    // One of them is in another process than the directory.
    expect(new Set(POOLS.map((pool) => coordinatorOf(pool, 2))).size).toBe(2);
  });

  it("joins them by sockets that nobody else can open", () => {
    const { socketDir } = JSON.parse(readFileSync(join(root, "state", "running.json"), "utf8")) as {
      socketDir: string;
    };
    expect(readdirSync(socketDir).toSorted()).toEqual([
      "control.sock",
      "pools-0.sock",
      "pools-1.sock",
      "up.sock",
      "workerd.sock",
    ]);
    expect(statSync(socketDir).mode & 0o777).toBe(0o700);
  });

  it("holds each pool in the coordinator that its name says", () => {
    expect(POOLS.map((name) => coordinatorOf(name, 2))).toEqual([0, 1]);
    for (const name of POOLS) {
      const ordinal = coordinatorOf(name, 2);
      const folder = join(up.stateDir, ordinal === 0 ? "storage" : `storage-${ordinal}`);
      const databases = readdirSync(join(folder, "fairlead-PoolObject")).filter((file) =>
        /^[0-9a-f]{64}\.sqlite$/.test(file),
      );
      expect(databases).toHaveLength(1);
    }
  });

  it.for(POOLS)("serves pool %s, explains its decisions and settles its tickets", async (name) => {
    const { data, response } = await ask(name, "Hello");
    expect(data.model).toBe(`model-of-${name}`);
    const requestId = response.headers.get("x-fairlead-request-id")!;
    expect(await up.admin(`/explain/${requestId}`)).toMatchObject({ pool: name });
    await isSettled(name);
    const metrics = await fetch(`${up.url}/metrics/pools/${name}`, {
      headers: { authorization: `Bearer ${up.adminKey}` },
    });
    expect(await metrics.text()).toContain("fairlead_");
  });

  it.for(POOLS)("keeps the prompts of pool %s where they are cached", async (name) => {
    const prompt = `${name} ${"a sentence that is long enough to be kept. ".repeat(40)}`;
    const first = await ask(name, prompt);
    await isSettled(name);
    for (let i = 0; i < 4; i++) {
      const again = await ask(name, `${prompt} ${i}`);
      expect(again.response.headers.get("x-fairlead-endpoint")).toBe(
        first.response.headers.get("x-fairlead-endpoint"),
      );
    }
  });

  it.for(POOLS)("releases a ticket of pool %s when its client leaves", async (name) => {
    const aborter = new AbortController();
    const request = {
      model: `model-of-${name}`,
      messages: [{ role: "user" as const, content: "A long story" }],
      max_tokens: 4_000,
      // The engine's own: it goes on to the last token.
      ignore_eos: true,
      stream: true as const,
    };
    const stream = await up.client.chat.completions.create(request, { signal: aborter.signal });
    await stream[Symbol.asyncIterator]().next();
    expect(await openTickets(name)).toBe(1);
    aborter.abort();
    await isSettled(name);
  });

  it("changes a switch for the Worker in the other process", async () => {
    const patch = (acceptRequests: boolean) =>
      fetch(`${up.url}/admin/v1/settings`, {
        method: "PATCH",
        headers: {
          authorization: `Bearer ${up.adminKey}`,
          "content-type": "application/json",
        },
        body: JSON.stringify({ acceptRequests }),
      });
    expect((await patch(false)).status).toBe(200);
    await expect(ask("local", "Hello")).rejects.toThrow("503");
    expect((await patch(true)).status).toBe(200);
    await ask("local", "Hello");
  });

  // Last: it starts anew.
  it("serves every pool with more or fewer coordinators than before", async () => {
    const version = async () => ((await up.admin("/config")) as { version: number }).version;
    const before = await version();
    for (const args of [[], ["--coordinators", "2"], ["--coordinators", "1"]]) {
      await up.interrupt();
      up = await start(...args);
      for (const name of POOLS) expect((await ask(name, "Hello")).data.model).toContain(name);
    }
    expect(await version()).toBe(before + 3);
  });
});
