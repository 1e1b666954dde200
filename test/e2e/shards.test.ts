// A pool that is spread over several objects, as whoever uses it sees it: one pool. Requests go on while objects
// come and go, and whoever is killed.

import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { shardOfRequest } from "../../src/agents/protocol/request-shard.ts";
import type { PoolState } from "../../src/durable/state.ts";
import {
  type ExplainedAttempt,
  explanationSchema,
} from "../../src/scheduler/decisions/document.ts";
import { eventually, startFairlead, type Fairlead } from "./harness.ts";

const SHARDS = 4;
const ENGINES = 3;
/** What engines tell decides: a prompt that nobody is known to hold goes anywhere. */
const PRECISE = "precise-prefix-cache-producer";
const SCHEDULER = {
  plugins: [
    { type: PRECISE },
    { type: "prefix-cache-scorer", parameters: { prefixMatchInfoProducerName: PRECISE } },
    { type: "max-score-picker" },
  ],
  schedulingProfiles: [
    {
      name: "default",
      plugins: [{ pluginRef: "prefix-cache-scorer" }, { pluginRef: "max-score-picker" }],
    },
  ],
};
/** Of one turn: some blocks of content, and of the engines. */
const SENTENCES = 60;
const READ_MS = 250;
/** As long as an agent dials and a pool's object is told of others. */
const SETTLE_MS = 30_000;
/** Until a pool is sure that prompts begin alike: hundreds of them, a few a second of each object. */
const SPLIT_MS = 90_000;

let up: Fairlead;
let whileItGrew: readonly Answered[];
beforeAll(async () => {
  up = await startFairlead("--kv-events", "--engines", String(ENGINES));
  // Decisions of objects say all that they went by.
  await up.configurePool({ scheduler: SCHEDULER, decide: "consult" });
  await allHear(1);
  // Objects that nobody knows yet: they have neither endpoints nor a configuration.
  whileItGrew = await underLoad(4, async () => {
    await up.configurePool({ shards: SHARDS });
    await allHear(SHARDS);
    await sleep(500);
  });
}, 2 * SETTLE_MS);
afterAll(() => up?.[Symbol.asyncDispose]());

interface Message {
  readonly role: "user" | "assistant";
  readonly content: string;
}

interface Answered {
  readonly status: number;
  readonly requestId: string;
  readonly text: string;
}

async function ask(messages: readonly Message[]): Promise<Answered> {
  const response = await up.fetch("/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: up.model, max_tokens: 4, messages }),
  });
  const text = await response.text();
  const requestId = response.headers.get("x-fairlead-request-id") ?? "";
  return { status: response.status, requestId, text };
}

const turn = (of: string): Message => ({ role: "user", content: `${of} `.repeat(SENTENCES) });

/** Two turns, of which the second repeats the first. Its answers. */
async function converse(name: string): Promise<readonly Answered[]> {
  const first = [turn(`The tale of ${name} begins.`)];
  const one = await ask(first);
  // Whoever goes on has read it: by then engines have told what they hold. Decisions go by nothing else here.
  await sleep(READ_MS);
  const said: Message = { role: "assistant", content: "So it does." };
  return [one, await ask([...first, said, turn(`And ${name} goes on.`)])];
}

const pool = async () => (await up.admin("/pools/local")) as PoolState;

/** Until so many objects have relay and collector. Both are the same two, whoever is asked. */
async function allHear(count: number): Promise<void> {
  for (const part of ["collector-local", "relay-local"]) {
    await eventually(
      `${part} is heard by ${count}`,
      async () => {
        const log = up.logs()[`${part}.log`] ?? "";
        return log.split("session established").length > count ? true : undefined;
      },
      SETTLE_MS,
    );
  }
  await eventually(
    "all endpoints are fresh",
    async () => {
      const { endpoints } = await pool().catch(() => ({ endpoints: [] }));
      const isReady = endpoints.length === ENGINES && endpoints.every(({ isFresh }) => isFresh);
      return isReady ? true : undefined;
    },
    SETTLE_MS,
  );
}

async function explained(requestId: string): Promise<ExplainedAttempt> {
  return eventually("the request's end is reported", async () => {
    const answer = explanationSchema.safeParse(await up.admin(`/explain/${requestId}`));
    const last = answer.data?.attempts.at(-1);
    return last?.result == null ? undefined : last;
  });
}

/** Until what engines have done and prompts became is known to the objects. */
async function settle(): Promise<void> {
  await sleep(50);
  await eventually("events come to rest", async () => {
    const due = await Promise.all([
      gauge("relay-local", "fairlead_relay_learning_waiting"),
      gauge("collector-local", "fairlead_kv_stream_due_keys"),
    ]);
    return due.every((count) => count === 0) ? true : undefined;
  });
  await sleep(50);
}

async function gauge(part: string, name: string): Promise<number> {
  const text = await up.metricsOf(part).catch(() => "");
  const line = text.split("\n").find((each) => each.startsWith(`${name} `));
  return Number(line?.split(" ")[1] ?? 0);
}

/** All objects know of every endpoint all that their own requests could ask for. */
async function exactKnowledge(): Promise<void> {
  await eventually(
    "every endpoint is known exactly",
    async () => {
      const { endpoints } = await pool().catch(() => ({ endpoints: [] }));
      const isExact = endpoints.every(({ knowledge }) => knowledge === "exact");
      return endpoints.length === ENGINES && isExact ? true : undefined;
    },
    SETTLE_MS,
  );
}

/**
 * Asks twice for a prompt. The shard that it belongs to; undefined if it did not know who holds it the
 * second time.
 */
async function shardThatKnows(
  name: string,
  before: readonly Message[] = [],
): Promise<number | undefined> {
  const prompt = [...before, turn(`A prompt called ${name}.`)];
  const first = await ask(prompt);
  expect(first.status).toBe(200);
  await settle();
  await exactKnowledge();
  const again = await ask(prompt);
  expect(shardOfRequest(again.requestId)).toBe(shardOfRequest(first.requestId));
  const { candidates, chosen, result, totalBlocks } = await explained(again.requestId);
  const matched = candidates.find(({ address }) => address === chosen[0])?.matchedBlocks ?? 0;
  if (matched <= totalBlocks / 2) return undefined;
  expect(result?.cachedTokens).toBeGreaterThan(0);
  return shardOfRequest(first.requestId);
}

/** The shards of eight prompts, which know of all of them who holds them. */
async function shardsThatKnow(name: string, before: readonly Message[] = []): Promise<Set<number>> {
  const shards = new Set<number>();
  for (let i = 0; i < 8; i++) {
    const shard = await shardThatKnows(`${name} ${i}`, before);
    expect(shard).toBeDefined();
    shards.add(shard!);
  }
  return shards;
}

/** Conversations one after the other in each of `width` lanes, until `during` is over. All their answers. */
async function underLoad(width: number, during: () => Promise<void>): Promise<readonly Answered[]> {
  const answers: Answered[] = [];
  let isOver = false;
  const lanes = Array.from({ length: width }, async (_, lane) => {
    for (let n = 0; !isOver; n++) answers.push(...(await converse(`lane ${lane}, ${n}`)));
  });
  await during().finally(() => (isOver = true));
  await Promise.all(lanes);
  return answers;
}

describe("a pool of several objects", () => {
  it("has lost no request when it was one until then", () => {
    expect(whileItGrew.filter(({ status }) => status !== 200)).toEqual([]);
    const shards = new Set(whileItGrew.map(({ requestId }) => shardOfRequest(requestId)));
    expect(shards.size).toBeGreaterThan(1);
  });

  it("serves conversations by all of them, and a conversation by one", async () => {
    const conversations: (readonly Answered[])[] = [];
    for (let n = 0; n < 16; n++) conversations.push(await converse(`number ${n}`));
    expect(new Set(conversations.flat().map(({ status }) => status))).toEqual(new Set([200]));
    const shards = conversations.map((turns) =>
      turns.map(({ requestId }) => shardOfRequest(requestId)),
    );
    for (const [first, second] of shards) expect(second).toBe(first);
    expect(new Set(shards.flat()).size).toBeGreaterThan(2);
    for (const { requestId } of conversations.flatMap((turns) => turns.slice(0, 1))) {
      expect((await explained(requestId)).result).toMatchObject({ outcome: "ok" });
    }
  });

  it("is one pool to whoever looks at it", async () => {
    const state = await pool();
    expect(state).toMatchObject({ pool: "local", shards: { count: SHARDS, missing: [] } });
    expect(state.endpoints).toHaveLength(ENGINES);
    expect(state.agents.map(({ role }) => role).toSorted()).toEqual(["collector", "relay"]);
    const { decisions } = (await up.admin("/pools/local/decisions?limit=32")) as {
      decisions: { requestId: string }[];
    };
    // A page ends where one object's does.
    expect(decisions.length).toBeGreaterThan(16);
    const shards = decisions.map(({ requestId }) => shardOfRequest(requestId));
    expect(new Set(shards).size).toBeGreaterThan(2);
  });

  it("knows in each of them who holds what of its own prompts", async () => {
    expect((await shardsThatKnow("known")).size).toBeGreaterThan(1);
  });

  it(
    "splits prompts that all begin alike, and knows what is above the split in each part",
    async () => {
      // As a chat template's system prompt is: some blocks of it.
      const before = [turn("You are a helpful assistant that knows all of the tales.")];
      let n = 0;
      await eventually(
        "prompts that begin alike are served by several objects",
        async () => {
          // A plan takes two hundred samples, and an object takes eight a second: the others take some as well.
          const others = Array.from({ length: 4 }, () => ask([turn(`Not a tale: ${n++}.`)]));
          const answers = await Promise.all(
            Array.from({ length: 6 }, () => ask([...before, turn(`Tale ${n++} begins.`)])),
          );
          await Promise.all(others);
          const shards = new Set(answers.map(({ requestId }) => shardOfRequest(requestId)));
          return shards.size > 1 ? true : undefined;
        },
        SPLIT_MS,
      );
      expect((await shardsThatKnow("alike", before)).size).toBeGreaterThan(1);
      // What is above the split is held by somebody, and each of them knows by whom.
      for (let i = 0; i < 8; i++) {
        const { requestId } = await ask([...before, turn(`Nobody has heard of tale ${i}.`)]);
        const { candidates } = await explained(requestId);
        expect(Math.max(...candidates.map(({ matchedBlocks }) => matchedBlocks))).toBeGreaterThan(
          8,
        );
      }
    },
    2 * SPLIT_MS,
  );

  it.for(["consult", "auto"])(
    "loses no request while its objects become fewer and more, deciding by %s",
    async (decide) => {
      const answers = await underLoad(6, async () => {
        for (const shards of [1, 3, SHARDS, 2, SHARDS]) {
          await up.configurePool({ shards, decide });
          await sleep(1_500);
        }
      });
      await up.configurePool({ decide: "consult" });
      expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
      expect(answers.length).toBeGreaterThan(20);
      await eventually("no ticket is open", async () => {
        const { tickets } = await pool();
        return tickets.open === 0 && tickets.unsettled === 0 ? true : undefined;
      });
    },
  );

  it.for(["collector-local", "relay-local", "workerd"])(
    "goes on when %s is killed, and knows again who holds what",
    async (part) => {
      const old = up.pidsNow()[part]!;
      process.kill(old, "SIGKILL");
      await eventually(`${part} runs again`, () => {
        const pid = up.pidsNow()[part];
        return pid !== undefined && pid !== old ? pid : undefined;
      });
      await eventually(
        "conversations are served, by several objects",
        async () => {
          const turns = await Promise.all(
            Array.from({ length: 6 }, (_, n) => converse(`${part} ${n}`).catch(() => [])),
          );
          const answers = turns.flat();
          const isServed = answers.every(({ status }) => status === 200) && answers.length === 12;
          const shards = new Set(answers.map(({ requestId }) => shardOfRequest(requestId)));
          return isServed && shards.size > 1 ? true : undefined;
        },
        SETTLE_MS,
      );
      // A collector that begins anew is told in a second what prompts became, and not all at once.
      let tries = 0;
      await eventually("who holds what is known", () =>
        shardThatKnows(`${part} is back ${tries++}`),
      );
      expect((await shardsThatKnow(`${part} knows`)).size).toBeGreaterThan(1);
      expect((await pool()).agents).toHaveLength(2);
    },
  );
});
