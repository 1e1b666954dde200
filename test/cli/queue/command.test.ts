// `fairlead queue` as it is typed, against a deployment's admin API on a real socket.

import { once } from "node:events";
import type { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { AdminServer } from "../support/admin-server.ts";
import { QUEUE } from "./queues.ts";

const FOUND = { status: 200, body: { pool: "eu-1", queue: QUEUE } };

/** What a command that runs on has printed, once `isEnough` says so. */
async function printed(stream: Readable, isEnough: (text: string) => boolean): Promise<string> {
  let text = "";
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    if (isEnough(text)) break;
  }
  return text;
}

describe("fairlead queue", { timeout: 30_000 }, () => {
  it("looks once", async () => {
    await using admin = await AdminServer.start();
    admin.queues = [FOUND];
    const { code, stdout, stderr } = await admin.run("queue", "eu-1", "--once");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^Pool eu-1 at \d\d:\d\d:\d\d UTC: saturation 1.06, full\n/);
    expect(stdout).not.toContain("\u001b");
  });

  it("prints what it was told as JSON, a line a look", async () => {
    await using admin = await AdminServer.start();
    admin.queues = [FOUND];
    const { code, stdout } = await admin.run("queue", "eu-1", "--once", "--json");
    expect(code).toBe(0);
    expect(stdout.split("\n")).toHaveLength(2);
    expect(JSON.parse(stdout)).toEqual(FOUND.body);
  });

  it.for(["SIGINT", "SIGTERM"] as const)(
    "looks again and again until %s, also past a failure, and ends with 0",
    async (signal) => {
      await using admin = await AdminServer.start();
      const unavailable = { status: 503, body: { error: { message: "It did not answer." } } };
      const later = { status: 200, body: { pool: "eu-1", queue: { ...QUEUE, saturation: 0.5 } } };
      admin.queues = [FOUND, unavailable, later];
      const child = admin.start("queue", "eu-1", "--interval", "1s");
      const [text, complaint] = await Promise.all([
        printed(child.stdout, (seen) => seen.includes("saturation 0.50")),
        printed(child.stderr, (seen) => seen.includes("\n")),
      ]);
      expect(text).toMatch(/saturation 1\.06[^]*saturation 0\.50/);
      expect(complaint).toBe("eu-1: It did not answer.\n");
      child.kill(signal);
      expect(await once(child, "exit")).toEqual([0, null]);
    },
  );

  it("ends quietly with whoever reads it", async () => {
    await using admin = await AdminServer.start();
    admin.queues = [FOUND];
    const child = admin.start("queue", "eu-1");
    await printed(child.stdout, (seen) => seen.includes("Pool eu-1"));
    child.stdout.destroy();
    const [[code], complaint] = await Promise.all([
      once(child, "exit"),
      child.stderr.toArray() as Promise<Buffer[]>,
    ]);
    expect({ code, complaint: Buffer.concat(complaint).toString() }).toEqual({
      code: 0,
      complaint: "",
    });
  });

  const NOT_FOUND = { status: 404, body: { error: { message: "Nothing is here." } } };
  const CONFIG = { version: 1, config: { pools: [{ name: "eu-1" }, { name: "us-1" }] } };
  it.for([
    {
      name: "an unknown pool",
      pool: "eu-2",
      says: "There is no pool eu-2; there are: eu-1, us-1.",
    },
    {
      name: "a deployment without the route",
      pool: "us-1",
      says: "it is older than this fairlead",
    },
  ])("tells $name", async ({ pool, says }) => {
    await using admin = await AdminServer.start();
    admin.queues = [NOT_FOUND];
    admin.configs = [CONFIG];
    const { code, stdout, stderr } = await admin.run("queue", pool);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain(says);
  });

  it.for([
    {
      name: "flow control is off",
      answer: { status: 200, body: { pool: "eu-1", queue: null, note: "Flow control is off." } },
      says: "eu-1: Flow control is off.",
    },
    {
      name: "the answer is of another kind",
      answer: { status: 200, body: { hello: "world" } },
      says: "The answer could not be read",
    },
    {
      name: "the key is wrong",
      answer: { status: 401, body: {} },
      says: "refused the admin key",
    },
    {
      name: "the pool's object does not answer",
      answer: { status: 503, body: { error: { message: "The pool's object did not answer." } } },
      says: "eu-1: The pool's object did not answer.",
    },
  ])("ends with 1 where $name", async ({ answer, says }) => {
    await using admin = await AdminServer.start();
    admin.queues = [answer];
    const { code, stdout, stderr } = await admin.run("queue", "eu-1");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain(says);
  });

  it.for([
    { args: [], says: "POOL is missing." },
    { args: ["eu-1", "--interval", "0s"], says: "--interval takes a time" },
    { args: ["eu-1", "us-1"], says: '"us-1" was not expected.' },
  ])("wants its command line as it is written: $says", async ({ args, says }) => {
    await using admin = await AdminServer.start();
    const { code, stderr } = await admin.run("queue", ...args);
    expect(code).toBe(2);
    expect(stderr).toContain(says);
    expect(stderr).toContain("Usage: fairlead queue POOL");
  });
});
