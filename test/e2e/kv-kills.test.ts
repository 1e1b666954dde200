// Collectors, the object and engines killed with SIGKILL under load, one after another and in any order:
// requests go on, and the object knows again what the engines' caches hold, all of it and nothing else.
//
// Whether it does is asked of the engines: after each kill the load pauses, and what decisions say is
// cached has to be what the engines then report, within one content block.

import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { judge, tokenCountsOf } from "../../bench/kv-accuracy/judge.ts";
import { Traffic } from "../../bench/kv-accuracy/traffic.ts";
import { createRng } from "../../src/scheduler/support/rng.ts";
import { eventually } from "./harness.ts";
import { COLLECTORS, ENGINES, KvStack, MODEL } from "./kv-stack.ts";

/**
 * Knowledge is to be whole again within three seconds, on cores that others use as well. Where processes have
 * to start for that, it is given more.
 */
const WHOLE_MS_MAX = 3_000 + 2_000;
const STARTED_MS_MAX = 3_000 + 9_000;
/** Of all requests, those that may fail when an engine is killed: what it was about to answer. */
const FAILED_SHARE_MAX = 0.25;
/** A client that was refused waits before it asks again. */
const PAUSE_MS = 100;
const CLIENTS = 5;
const PROBES = 6;
/** Requests between two kills, so that caches change. */
const REQUESTS_BETWEEN = 20;
const KILLS_IN_A_ROW = 4;

let stack: KvStack;
let traffic: Traffic;
beforeAll(async () => {
  stack = await KvStack.start();
  traffic = new Traffic({ seed: 3, model: MODEL, live: 48, answerTokens: { min: 8, max: 8 } });
  await Promise.all(Array.from({ length: 40 }, () => askNext()));
  await whole(STARTED_MS_MAX);
});
afterAll(() => stack?.[Symbol.asyncDispose]());

/** The next request, and its status; 0 where the connection broke. */
async function askNext(): Promise<number> {
  const { body, ended } = traffic.next();
  const { status } = await stack.ask(body).catch(() => ({ status: 0 }));
  // What an engine computed of a request that broke off is in its cache, and was not learned from.
  ended(status === 200);
  return status;
}

/** Until every endpoint is known exactly. */
async function whole(msMax = WHOLE_MS_MAX): Promise<void> {
  let known: readonly (string | undefined)[] | undefined;
  await eventually(
    "every endpoint is known exactly",
    async () => {
      known = await stack.knowledge();
      const isWhole = known?.length === ENGINES && known.every((each) => each === "exact");
      return isWhole ? true : undefined;
    },
    msMax,
  ).catch((error: unknown) => {
    throw new Error(`known is ${known?.join(", ")}`, { cause: error });
  });
}

/** Requests all the time, until `stop`. */
function startLoad() {
  let isOver = false;
  const statuses: number[] = [];
  let isWhole = false;
  const statusesWhole: number[] = [];
  const client = async () => {
    while (!isOver) {
      const wasWhole = isWhole;
      const status = await askNext();
      statuses.push(status);
      if (wasWhole) statusesWhole.push(status);
      if (status !== 200) await sleep(PAUSE_MS);
    }
  };
  const clients = Promise.all(Array.from({ length: CLIENTS }, client));
  return {
    statuses,
    /** Of requests that began when everything was known again. */
    statusesWhole,
    nowWhole() {
      isWhole = true;
    },
    /** So many more. */
    async answered(count: number) {
      const answeredCount = () => statuses.filter((status) => status === 200).length;
      const wanted = answeredCount() + count;
      await eventually(`${count} more are answered`, () =>
        answeredCount() >= wanted ? true : undefined,
      );
    },
    async stop() {
      isOver = true;
      await clients;
    },
  };
}

interface Aftermath {
  /** Of all requests, before and after. */
  readonly statuses: readonly number[];
  /** Those that failed though they began when all was known again. */
  readonly failedWhole: readonly number[];
  /** Decisions that said otherwise than engines reported, when all was over. */
  readonly wrong: readonly WrongDecision[];
}

interface WrongDecision {
  /** Believed beyond what was reported. */
  readonly blocks: number;
  /** What else there is to show. */
  readonly [shown: string]: unknown;
}

/** Kills under load, and waits until the object knows everything again. */
async function killed(kill: () => Promise<void>, msMax = WHOLE_MS_MAX): Promise<Aftermath> {
  const load = startLoad();
  try {
    await load.answered(REQUESTS_BETWEEN);
    await kill();
    await whole(msMax);
    load.nowWhole();
    await load.answered(REQUESTS_BETWEEN);
  } finally {
    await load.stop();
  }
  const failedWhole = load.statusesWhole.filter((status) => status !== 200);
  return { statuses: load.statuses, failedWhole, wrong: await wrongDecisions() };
}

/** Asks one after another, and gives what decisions said is cached that engines do not report. */
async function wrongDecisions(): Promise<WrongDecision[]> {
  await whole();
  const wrong: WrongDecision[] = [];
  for (let i = 0; i < PROBES; i++) {
    await stack.settle();
    const { body, ended } = traffic.next();
    const { candidates, result } = await stack.probe(body);
    ended(true);
    const { endpoint, promptTokens, cachedTokens } = result!;
    const served = candidates.find(({ address, id }) => address === endpoint || id === endpoint)!;
    const observation = {
      matchedBlocks: served.matchedBlocks,
      promptTokens: promptTokens!,
      cachedTokens: cachedTokens ?? 0,
      tokenCounts: await tokenCountsOf(body, stack.origins[0]!),
    };
    const { blocks } = judge(observation);
    const { tokenCounts, ...shown } = observation;
    if (Math.abs(blocks) <= 1) continue;
    const knowledge = (await stack.knowledge())?.join(", ");
    wrong.push({ ...shown, blocks, of: tokenCounts.length, id: served.id, knowledge });
  }
  return wrong;
}

const KILLS: Readonly<Record<string, () => Promise<void>>> = {
  ...Object.fromEntries(
    Array.from({ length: COLLECTORS }, (_, n) => [
      `collector ${n}`,
      async () => {
        await stack.collectors[n]!.kill();
        // Not waited for: the other one is there. If it does not come back, the next kill shows it.
        stack.collectors[n]!.start().catch(() => undefined);
      },
    ]),
  ),
  object: () => stack.killObject(),
  ...Object.fromEntries(
    Array.from({ length: ENGINES }, (_, n) => [
      `engine ${n}`,
      async () => {
        await stack.engines[n]!.kill();
        await stack.engines[n]!.start();
      },
    ]),
  ),
};

describe("knowledge of caches, when parts are killed under load", { timeout: 60_000 }, () => {
  it("is true to begin with", async () => {
    expect(await wrongDecisions()).toEqual([]);
  });

  it("is whole again at once where another collector is there, and no request fails", async () => {
    const { statuses, wrong } = await killed(async () => {
      await stack.collectors[0]!.kill();
      await whole();
      expect(await stack.agents()).not.toContain("collector-0");
    });
    expect(statuses.filter((status) => status !== 200)).toEqual([]);
    // What the killed one had just heard of and not told is found out when it is computed next: too little is
    // believed of such a prompt until then, and never too much.
    expect(wrong.length).toBeLessThanOrEqual(1);
    expect(wrong.filter(({ blocks }) => blocks > 0)).toEqual([]);
  });

  it("is shown as partial while no collector is there, and whole again by replay", async () => {
    const { statuses, wrong } = await killed(async () => {
      await stack.collectors[1]!.kill();
      const shown = await eventually("nothing is exact", async () => {
        const known = await stack.knowledge();
        return known?.every((each) => each !== "exact") ? known : undefined;
      });
      expect(shown).toEqual(Array.from({ length: ENGINES }, () => "partial"));
      await Promise.all(stack.collectors.map((each) => each.start()));
    }, STARTED_MS_MAX);
    expect(statuses.filter((status) => status !== 200)).toEqual([]);
    expect(wrong).toEqual([]);
  });

  it("goes with an engine that is killed, and comes back with it", async () => {
    const { statuses, failedWhole, wrong } = await killed(KILLS["engine 0"]!, STARTED_MS_MAX);
    const failed = statuses.filter((status) => status !== 200);
    expect(failed.length).toBeLessThanOrEqual(statuses.length * FAILED_SHARE_MAX);
    expect(failedWhole).toEqual([]);
    expect(wrong).toEqual([]);
  });

  it("survives the object", async () => {
    const { failedWhole, wrong } = await killed(KILLS["object"]!);
    expect(failedWhole).toEqual([]);
    expect(wrong).toEqual([]);
  });

  it("is not touched by a collector that was stopped, and goes on when another has taken over", async () => {
    const [stopped] = stack.collectors;
    const { wrong } = await killed(async () => {
      stopped!.signal("SIGSTOP");
      // Its socket ends with the object's.
      await stack.killObject();
      await whole();
      expect(await stack.agents()).not.toContain("collector-0");
      stopped!.signal("SIGCONT");
      await eventually("it is back", async () =>
        (await stack.agents()).includes("collector-0") ? true : undefined,
      );
    });
    expect(wrong).toEqual([]);
  });

  it("survives kills in any order", async () => {
    const rng = createRng(17);
    const names = Object.keys(KILLS)
      .map((name) => [rng(), name] as const)
      .toSorted(([a], [b]) => a - b)
      .map(([, name]) => name);
    const load = startLoad();
    try {
      for (const name of names.slice(0, KILLS_IN_A_ROW)) {
        await KILLS[name]!();
        await load.answered(REQUESTS_BETWEEN);
      }
    } finally {
      await load.stop();
    }
    await whole(STARTED_MS_MAX);
    expect(await wrongDecisions()).toEqual([]);
  });
});
