// `fairlead pools` as it is typed, against a deployment's admin API on a real socket.

import { describe, expect, it } from "vitest";
import { AdminServer } from "../support/admin-server.ts";

const LISTED = {
  version: 3,
  pools: [
    {
      pool: "eu-1",
      region: "eu",
      jurisdiction: "eu",
      models: ["a", "b", "c", "d", "e"],
      failoverTier: 0,
      drained: false,
      state: "full",
      ageMs: 250,
      summary: {
        pool: "eu-1",
        membership: { ageMs: 20, endpoints: 8, usable: 7, agents: 2, models: [], adapters: [] },
        load: { ageMs: 150, saturation: 1.25, waitMs: 812.4, queued: 5, inFlightRequests: 41 },
      },
    },
    {
      pool: "us-1",
      region: "us\u001b[2J",
      models: ["a"],
      failoverTier: 1,
      drained: true,
      state: "silent",
      ageMs: null,
      summary: null,
    },
  ],
};

describe("fairlead pools", { timeout: 30_000 }, () => {
  it("lists them as a table", async () => {
    await using admin = await AdminServer.start();
    admin.pools = { status: 200, body: LISTED };
    const { code, stdout, stderr } = await admin.run("pools");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const rows = stdout.split("\n").map((line) => line.trim().split(/ {2,}/));
    expect(rows.at(-3)).toEqual(
      [
        "eu-1",
        "full",
        "0",
        "0.3 s",
        "0.4 s",
        "7/8",
        "125 %",
        "812 ms",
        "5",
        "41",
        "eu (eu)",
      ].concat("a, b, c and 2 more"),
    );
    const none = ["-", "-", "-", "-", "-", "-"];
    expect(rows.at(-2)).toEqual(["us-1", "silent", "1", "never", ...none, "us\uFFFD[2J", "a"]);
  });

  it("says how many objects each pool has, where one has several", async () => {
    await using admin = await AdminServer.start();
    admin.pools = { status: 200, body: LISTED };
    expect((await admin.run("pools")).stdout).not.toContain("objects");
    const [first, second] = LISTED.pools;
    const pools = [{ ...first, shards: 4 }, second];
    admin.pools = { status: 200, body: { ...LISTED, pools } };
    const { stdout } = await admin.run("pools");
    expect(stdout).toContain("objects");
    const rows = stdout.split("\n").map((line) => line.trim().split(/ {2,}/));
    // Before the region and the models.
    expect([rows.at(-3)!.at(-3), rows.at(-2)!.at(-3)]).toEqual(["4", "1"]);
  });

  it("prints the answer as it is", async () => {
    await using admin = await AdminServer.start();
    admin.pools = { status: 200, body: LISTED };
    const { stdout } = await admin.run("pools", "--json");
    expect(JSON.parse(stdout)).toEqual(LISTED);
  });

  it("says so where there are none, and where the deployment is older", async () => {
    await using admin = await AdminServer.start();
    expect((await admin.run("pools")).stdout).toBe("No pools are configured.\n");
    admin.pools = { status: 404, body: { error: { message: "Nothing is at this path." } } };
    const { code, stderr } = await admin.run("pools");
    expect(code).toBe(1);
    expect(stderr).toContain("it is older than this fairlead");
  });

  it("drains one and has it take requests again", async () => {
    await using admin = await AdminServer.start();
    const notes = ["No other pool takes requests for a."];
    admin.pools = { status: 200, body: { pool: "eu-1", drained: true, changed: true, notes } };
    expect(await admin.run("pools", "drain", "eu-1")).toEqual({
      code: 0,
      stdout: "eu-1 is now drained: it gets no new requests.\n",
      stderr: "note: No other pool takes requests for a.\n",
    });
    admin.pools = {
      status: 200,
      body: { pool: "eu-1", drained: false, changed: false, notes: [] },
    };
    expect(await admin.run("pools", "undrain", "eu-1")).toEqual({
      code: 0,
      stdout: "eu-1 was already not drained: it gets requests.\n",
      stderr: "",
    });
    expect(admin.posts).toEqual(["/admin/v1/pools/eu-1/drain", "/admin/v1/pools/eu-1/undrain"]);
  });

  it("passes on why it could not", async () => {
    await using admin = await AdminServer.start();
    const message = "No pool of this name is configured. There are: eu-1.";
    admin.pools = { status: 404, body: { error: { message } } };
    const { code, stderr } = await admin.run("pools", "drain", "eu-9");
    expect({ code, stderr }).toEqual({ code: 1, stderr: `eu-9: ${message}\n` });
  });

  it.for([
    { args: ["drian", "eu-1"], says: 'pools takes drain or undrain, or nothing, not "drian".' },
    { args: ["drain"], says: "POOL is missing." },
    { args: ["drain", "a", "b"], says: '"b" was not expected.' },
  ])("refuses $args", async ({ args, says }) => {
    await using admin = await AdminServer.start();
    const { code, stderr } = await admin.run("pools", ...args);
    expect(code).toBe(2);
    expect(stderr).toContain(says);
    expect(admin.posts).toEqual([]);
  });
});
