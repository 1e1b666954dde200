// Three clusters behind one Worker, of which parts are lost while clients send requests: what `fairlead
// chaos` reports of it. The rate is small, so that it also holds on a machine that does much else at the same
// time; `npm run bench -- failover` takes the figures.

import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, fairlead, startFairlead, type Fairlead } from "./harness.ts";
import type { Account } from "../../src/cli/chaos/account.ts";
import { readRunning } from "../../src/cli/up/state-dir.ts";

const RATE = 20;
/** Of parts that come back at once. */
const SHORT = ["--for", "2s", "--duration", "4s"];
/** Of what is over before it makes a pool stale: one that comes and goes is held back for longer each time. */
const BRIEF = ["--for", "1s", "--duration", "3s"];
/** Of a cluster whose processes have to start. */
const LONG = ["--for", "1s", "--duration", "8s"];
/** Longer than what was last told is good for. */
const STALE = ["--for", "6s", "--duration", "8s"];
/** So far apart that the first is the nearest, however late a busy machine is. */
const RTTS = "5,250,500";

let up: Fairlead;
beforeAll(async () => {
  up = await startFairlead("--clusters", "3", "--rtt", RTTS, "--time-scale", "0.5");
});
afterAll(() => up[Symbol.asyncDispose]());

interface Told extends Account {
  readonly code: number | null;
}

async function chaos(...args: string[]): Promise<Told> {
  const flags = ["--json", "--rate", String(RATE), "--state-dir", up.stateDir];
  const { code, stdout, stderr } = await fairlead(["chaos", ...args, ...flags]);
  const last = stdout.trim().split("\n").at(-1)!;
  if (code === 2 || last === "") throw new Error(`status ${code}: ${stderr}`);
  return { code, ...(JSON.parse(last) as { report: Account }).report };
}

const phase = ({ phases }: Account, name: string) => phases.find((each) => each.name === name)!;

/** A pool that was lost is given time by whoever was told to leave it alone. */
const USED_MS_MAX = 40_000;
const ASK_EACH_MS = 100;

/**
 * Everything of the nearest cluster is known again, and new requests are sent there. They come steadily: an
 * isolate hears of pools when it has requests.
 */
async function untilUsed(): Promise<void> {
  const { clusters } = readRunning(join(up.stateDir, "running.json"))!;
  const nearest = clusters.find(({ name }) => name === "cluster-1")!;
  await eventually(
    "cluster-1 is whole",
    async () => {
      const { agents, endpoints } = (await up.admin("/pools/cluster-1")) as PoolState;
      const isWhole = agents?.length === 2 && endpoints?.every((each) => each.isFresh) === true;
      return isWhole || undefined;
    },
    USED_MS_MAX,
  );
  let isUsed = false;
  const asking: Promise<void>[] = [];
  const timer = setInterval(() => {
    const asked = whoAnswers().then((endpoint) => {
      if (nearest.endpoints.includes(endpoint)) isUsed = true;
    });
    asking.push(asked.catch(() => undefined));
  }, ASK_EACH_MS);
  try {
    await eventually("cluster-1 is in use", () => isUsed || undefined, USED_MS_MAX);
  } finally {
    clearInterval(timer);
    await Promise.all(asking);
  }
}

async function whoAnswers(): Promise<string> {
  const messages = [{ role: "user", content: "Who is there?" }];
  const response = await up.fetch("/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: up.model, messages, max_tokens: 1 }),
  });
  await response.text();
  return response.headers.get("x-fairlead-endpoint") ?? "";
}

/** Of one whose object cannot be reached, neither is known. */
interface PoolState {
  readonly agents?: readonly unknown[];
  readonly endpoints?: readonly { readonly isFresh: boolean }[];
}

describe("three clusters", { timeout: 120_000 }, () => {
  it("survive the loss of one: nothing fails that had not begun, and it is used again", async () => {
    const told = await chaos("kill", "cluster-1", ...LONG);
    expect(told).toMatchObject({ code: 0, holds: true, total: { failed: {} } });
    expect(Object.keys(told.total.ended)).toEqual(
      Object.keys(told.total.ended).filter((code) => /^(upstream|engine)_lost$/.test(code)),
    );
    // More than an even share, also on a busy machine.
    expect(phase(told, "before").shares["cluster-1"]).toBeGreaterThan(1 / 3);
    expect(told.avoidedMs).not.toBeNull();
    await untilUsed();
  });

  it("prefer those whose agents say something, and no request notices", async () => {
    const told = await chaos("cut", "agents:cluster-1", ...STALE);
    expect(told).toMatchObject({ code: 0, total: { failed: {}, ended: {} } });
    expect(told.avoidedMs).not.toBeNull();
    expect(phase(told, "during").shares["cluster-1"] ?? 0).toBeLessThan(0.9);
    await untilUsed();
  });

  it("send requests elsewhere when the engines of one are gone, and back when they are there", async () => {
    const told = await chaos("cut", "engines:cluster-1", ...SHORT);
    expect(told).toMatchObject({ code: 0, total: { failed: {} } });
    expect(phase(told, "during").shares["cluster-1"] ?? 0).toBeLessThan(0.3);
    await untilUsed();
  });

  // In the middle: a pool that does not stay is held back for longer each time, and a drain forgives it.
  it("leave one alone that an operator drains, and end what it has begun", async () => {
    const told = await chaos("drain", "cluster-1", ...SHORT);
    expect(told).toMatchObject({ code: 0, total: { failed: {}, ended: {} } });
    expect(told.avoidedMs).not.toBeNull();
    await untilUsed();
  });

  it("send requests elsewhere when the way to one is cut", async () => {
    const told = await chaos("cut", "requests:cluster-1", ...SHORT);
    expect(told).toMatchObject({ code: 0, total: { failed: {} } });
    expect(phase(told, "during").shares["cluster-1"] ?? 0).toBeLessThan(0.3);
    await untilUsed();
  });

  it.for(["refuse", "blackhole"])(
    "do without a pool's object that does not answer (%s)",
    async (mode) => {
      const told = await chaos("cut", "object:cluster-1", "--mode", mode, ...BRIEF);
      expect(told).toMatchObject({ code: 0, total: { failed: {}, ended: {} } });
      await untilUsed();
    },
  );

  it("do without the directory", async () => {
    const told = await chaos("cut", "directory", ...SHORT);
    expect(told).toMatchObject({ code: 0, total: { failed: {}, ended: {} } });
    expect(phase(told, "during").ok).toBeGreaterThan(RATE);
  });
});

it("says what there is to disturb when it is asked for something else", async () => {
  const { code, stderr } = await fairlead([
    "chaos",
    "kill",
    "cluster-9",
    "--state-dir",
    up.stateDir,
  ]);
  expect(code).toBe(2);
  expect(stderr).toContain("there are cluster-1, cluster-2, cluster-3");
});
