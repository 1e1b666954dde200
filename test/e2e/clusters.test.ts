// Three clusters behind one Worker, of which parts are lost while clients send requests: what `fairlead
// chaos` reports of it. The rate is small, so that it also holds on a machine that does much else at the same
// time; `npm run bench -- failover` takes the figures.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, fairlead, startFairlead, type Fairlead } from "./harness.ts";
import type { Account } from "../../src/cli/chaos/account.ts";

const RATE = 20;
/** Of parts that come back at once. */
const SHORT = ["--for", "2s", "--duration", "6s"];
/** Of a cluster whose processes have to start. */
const LONG = ["--for", "1s", "--duration", "12s"];
/** Generous: the must-hold figures are the benchmark's. */
const AVOIDED_MS_MAX = 3_000;
const USED_AGAIN_MS_MAX = 5_000;

let up: Fairlead;
beforeAll(async () => {
  up = await startFairlead("--clusters", "3", "--rtt", "10,30,50", "--time-scale", "0.5");
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

/** The pools' objects know all of their agents and engines again. */
const untilWhole = () =>
  eventually("every pool is whole", async () => {
    const pools = await Promise.all(
      ["cluster-1", "cluster-2", "cluster-3"].map((name) => up.admin(`/pools/${name}`)),
    );
    const isWhole = (pools as PoolState[]).every(
      ({ agents, endpoints }) =>
        agents?.length === 2 && endpoints?.length === 3 && endpoints.every((each) => each.isFresh),
    );
    return isWhole || undefined;
  });

interface PoolState {
  readonly agents?: readonly unknown[];
  readonly endpoints?: readonly { readonly isFresh: boolean }[];
}

describe("three clusters", () => {
  it("survive the loss of one: nothing fails that had not begun, and it is used again", async () => {
    const told = await chaos("kill", "cluster-1", ...LONG);
    expect(told).toMatchObject({ code: 0, holds: true, total: { failed: {} } });
    expect(Object.keys(told.total.ended)).toEqual(
      Object.keys(told.total.ended).filter((code) => /^(upstream|engine)_lost$/.test(code)),
    );
    expect(phase(told, "before").shares["cluster-1"]).toBeGreaterThan(0.5);
    expect(told.avoidedMs).toBeLessThan(AVOIDED_MS_MAX);
    expect(told.usedAgainMs).toBeLessThan(USED_AGAIN_MS_MAX);
    await untilWhole();
  });

  it("do without what a cluster's agents say: no request notices", async () => {
    const told = await chaos("cut", "agents:cluster-1", ...SHORT);
    expect(told).toMatchObject({ code: 0, total: { failed: {}, ended: {} } });
    await untilWhole();
  });

  it("send requests elsewhere when the engines of one are gone, and back when they are there", async () => {
    const told = await chaos("cut", "engines:cluster-1", ...SHORT);
    expect(told).toMatchObject({ code: 0, total: { failed: {} } });
    expect(phase(told, "during").shares["cluster-1"] ?? 0).toBeLessThan(0.3);
    expect(told.usedAgainMs).toBeLessThan(USED_AGAIN_MS_MAX);
    await untilWhole();
  });

  it("send requests elsewhere when the way to one is cut", async () => {
    const told = await chaos("cut", "requests:cluster-1", ...SHORT);
    expect(told).toMatchObject({ code: 0, total: { failed: {} } });
    expect(phase(told, "during").shares["cluster-1"] ?? 0).toBeLessThan(0.3);
    expect(told.usedAgainMs).toBeLessThan(USED_AGAIN_MS_MAX);
    await untilWhole();
  });

  it.for(["refuse", "blackhole"])(
    "do without a pool's object that does not answer (%s)",
    async (mode) => {
      const told = await chaos("cut", "object:cluster-1", "--mode", mode, ...SHORT);
      expect(told).toMatchObject({ code: 0, total: { failed: {}, ended: {} } });
      await untilWhole();
    },
  );

  it("do without the directory", async () => {
    const told = await chaos("cut", "directory", ...SHORT);
    expect(told).toMatchObject({ code: 0, total: { failed: {}, ended: {} } });
    expect(phase(told, "during").ok).toBeGreaterThan(RATE);
  });

  it("leave one alone that an operator drains, and end what it has begun", async () => {
    const told = await chaos("drain", "cluster-1", ...SHORT);
    expect(told).toMatchObject({ code: 0, total: { failed: {}, ended: {} } });
    expect(told.avoidedMs).toBeLessThan(AVOIDED_MS_MAX);
    expect(told.usedAgainMs).toBeLessThan(USED_AGAIN_MS_MAX);
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
