// Each process of a run killed and started again alone, under load. What clients may see meanwhile is
// documented in docs/architecture.md, "When a part dies".

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ask, startLoad, tally, type Load } from "./load.ts";
import { eventually, isAlive, startFairlead, TIME_SCALE, type Fairlead } from "./harness.ts";

/** From the kill until requests are answered again as before. Generous: machines can be busy. */
const SERVICE_MS_MAX = 20_000;
/** As many whole answers in a row, begun after the part was back, say that service has returned. */
const OK_IN_A_ROW = 30;
/** At 12 ms a token in simulated time, two seconds or more: it runs when a part dies. */
const LONG_TOKENS = Math.ceil(2_000 / (12 * TIME_SCALE));
const POOL = "local";

interface PoolState {
  readonly objectEpoch: string;
  readonly endpoints: readonly {
    readonly isFresh: boolean;
    readonly runningRequests: number;
    readonly inFlightRequests: number;
    readonly inFlightTokens: number;
  }[];
  readonly agents: readonly unknown[];
  readonly tickets: { readonly open: number };
}

interface Part {
  readonly part: string;
  /** What a request may come to whose way leads through the part. Empty: none may notice. */
  readonly allowed: readonly string[];
  /** Whether a stream that runs at the kill goes on to its end. */
  readonly keepsStreams: boolean;
}

/** After the answer's head has left, the engine's death can only be told in the stream. */
const ENGINES: Part = {
  part: "engines-local",
  allowed: ["refused upstream_unavailable", "refused no_endpoints", "cut engine_lost", "broken"],
  keepsStreams: false,
};
const RELAY: Part = {
  part: "relay-local",
  allowed: ["refused upstream_unavailable", "cut upstream_lost", "broken"],
  keepsStreams: false,
};
const COLLECTOR: Part = { part: "collector-local", allowed: [], keepsStreams: true };
const FRONT: Part = { part: "front", allowed: ["broken"], keepsStreams: false };

// The relay dies last: the ledger that must let go of its tickets is then the one that gave them.
const FORMS = [
  {
    form: "one workerd",
    args: [],
    parts: [
      ENGINES,
      COLLECTOR,
      FRONT,
      { part: "workerd", allowed: ["broken"], keepsStreams: false },
      RELAY,
    ],
  },
  {
    form: "an edge and two coordinators",
    args: ["--coordinators", "2"],
    parts: [
      ENGINES,
      COLLECTOR,
      FRONT,
      { part: "edge", allowed: ["broken"], keepsStreams: false },
      // The Worker serves from its last snapshot.
      { part: "coordinator-0", allowed: [], keepsStreams: true },
      // It holds no pool here.
      { part: "coordinator-1", allowed: [], keepsStreams: true },
      RELAY,
    ],
  },
] as const satisfies readonly { form: string; args: readonly string[]; parts: readonly Part[] }[];

describe.each(FORMS)("with $form", { timeout: 90_000 }, ({ args, parts }) => {
  let up: Fairlead;
  let load: Load;
  const pids = new Set<number>();
  const notePids = () => Object.values(up.pidsNow()).forEach((pid) => pids.add(pid));

  beforeAll(async () => {
    up = await startFairlead("--engines", "3", ...args);
    load = startLoad(up);
    await eventually("load runs", () => (load.seen.length > 50 ? true : undefined), 20_000);
    notePids();
  });
  afterAll(async () => {
    await load?.stop();
    await up?.[Symbol.asyncDispose]();
  });

  const state = async () => (await up.admin(`/pools/${POOL}`)) as PoolState;

  const isFresh = () =>
    eventually(
      "every endpoint has a fresh sample, and both agents are connected",
      async () => {
        const { endpoints, agents } = await state().catch(() => ({ endpoints: [], agents: [] }));
        const isWhole = endpoints?.length === 3 && agents.length === 2;
        return isWhole && endpoints.every((each) => each.isFresh) ? true : undefined;
      },
      SERVICE_MS_MAX,
    );

  /** The tail of requests begun after `sinceMs` that were all answered whole. */
  const isServing = (sinceMs: number) =>
    eventually(
      "requests are answered again",
      () => {
        const since = load.seen.filter((each) => each.startedAtMs > sinceMs);
        const good = since.length - 1 - since.findLastIndex((each) => each.outcome !== "ok");
        return good >= OK_IN_A_ROW ? true : undefined;
      },
      SERVICE_MS_MAX,
    );

  it.for(parts)("$part is killed and started again alone", async (spec) => {
    const { part, allowed, keepsStreams }: Part = spec;
    await isFresh();
    const long = ask(up, up.model, { isStream: true, outputTokens: LONG_TOKENS });
    await eventually("the long stream runs", async () =>
      (await state()).tickets.open > 0 ? true : undefined,
    );
    await sleep(300);
    const before = up.pidsNow();
    const from = load.seen.length;
    const killedAtMs = performance.now();
    process.kill(before[part]!, "SIGKILL");
    await eventually(
      `${part} is back`,
      () => (up.pidsNow()[part] === before[part] ? undefined : true),
      SERVICE_MS_MAX,
    );
    notePids();
    const backAtMs = performance.now();
    await isServing(backAtMs);
    await isFresh();
    expect(up.pidsNow()).toEqual({ ...before, [part]: up.pidsNow()[part] });

    const seen = [...load.seen.slice(from), await long];
    const failed = seen.filter((each) => each.outcome !== "ok");
    const unexpected = (counts: Record<string, number>) =>
      Object.fromEntries(Object.entries(counts).filter(([what]) => !allowed.includes(what)));
    expect(unexpected(tally(failed))).toEqual({});
    expect(failed.filter((each) => each.endedAtMs < killedAtMs)).toEqual([]);
    expect((await long).outcome === "ok").toBe(keepsStreams);
  });

  it("has nothing under way, and no process more or less, when the load has ended", async () => {
    await load.stop();
    await eventually(
      "nothing is under way",
      async () => {
        const { tickets, endpoints } = await state();
        const isIdle = endpoints.every(
          (each) =>
            each.inFlightRequests === 0 && each.inFlightTokens === 0 && each.runningRequests === 0,
        );
        const metrics = await up.metricsOf("relay-local");
        const isRelayIdle = /^fairlead_relay_open_streams(\{[^}]*\})? 0$/m.test(metrics);
        return tickets.open === 0 && isIdle && isRelayIdle ? true : undefined;
      },
      SERVICE_MS_MAX,
    );
    const { code, stdout, stderr } = await up.interrupt();
    expect(code).toBe(0);
    expect(stdout.trimEnd().split("\n")).toHaveLength(1);
    for (const { part } of parts)
      expect(stderr).toContain(`${part} ended by SIGKILL; started again\n`);
    expect([...pids].filter(isAlive)).toEqual([]);
    expect(pids.size).toBe(Object.keys(up.pids).length + parts.length);
  });
});

describe("while a pool's object is away", { timeout: 60_000 }, () => {
  /** What the pool's object has settled, from the database that outlives it. */
  function settled(up: Fairlead): { requests: number; estimated: number; tokens: number } {
    const folder = join(up.stateDir, "storage", "fairlead-PoolObject");
    const file = readdirSync(folder).find((name) => /^[0-9a-f]{64}\.sqlite$/.test(name))!;
    const database = new DatabaseSync(join(folder, file), { readOnly: true });
    const row = database
      .prepare(
        `SELECT coalesce(sum(requests), 0) AS requests,
           coalesce(sum(estimated_requests), 0) AS estimated,
           coalesce(sum(completion_tokens), 0) AS tokens FROM usage`,
      )
      .get();
    database.close();
    return { ...row } as { requests: number; estimated: number; tokens: number };
  }

  it("streams go on, requests are served, and each is counted once when it is back", async () => {
    const SHORT_TOKENS = 60;
    await using up = await startFairlead("--coordinators", "1", "--engines", "3");
    const short = (isStream: boolean) =>
      ask(up, up.model, { isStream, outputTokens: SHORT_TOKENS });
    // It leaves the Worker a snapshot to serve from.
    const seen = [await short(false)];
    const long = Array.from({ length: 5 }, () =>
      ask(up, up.model, { isStream: true, outputTokens: LONG_TOKENS }),
    );
    const open = async () => ((await up.admin(`/pools/${POOL}`)) as PoolState).tickets.open;
    await eventually("they run", async () => ((await open()) === long.length ? true : undefined));
    const pid = up.pidsNow()["coordinator-0"]!;
    process.kill(pid, "SIGKILL");
    while (up.pidsNow()["coordinator-0"] === pid) seen.push(await short(seen.length % 2 === 0));
    expect(seen.length).toBeGreaterThan(1);
    const longSeen = await Promise.all(long);
    expect(tally([...seen, ...longSeen])).toEqual({ ok: seen.length + long.length });
    const expected = {
      requests: seen.length + long.length,
      estimated: 0,
      tokens: seen.length * SHORT_TOKENS + long.length * LONG_TOKENS,
    };
    await eventually(
      "everything is settled",
      () => (settled(up).requests >= expected.requests ? true : undefined),
      SERVICE_MS_MAX,
    );
    expect(settled(up)).toEqual(expected);
    expect(await open()).toBe(0);
  });
});
