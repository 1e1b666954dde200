// What choosing among three pools adds to a request, in bare Workers.
//
//                    ┌ model of one pool ────┐
//   client ─► workerd┤                       ├─► relay ─► engine        another workerd: the bare Worker
//                    └ model of three pools ─┘
//
// One Fairlead has all three pools, each with a collector of its own: what these cost in the background
// is in both figures. Requests differ in the model they name, which either one pool serves
// or all three. The other two are dear by policy, so that nearly all go to the same pool either way,
// and what differs is the choice: keys looked up in digests, the cost of each, the order, and the
// candidates that travel to the object and are kept there.
//
// Rounds of the three alternate, each beginning in turn. The median over rounds counts.

import { setTimeout as sleep } from "node:timers/promises";
import { createChatBody, MODEL } from "./conversation.ts";
import { LoadClient } from "./load-client.ts";
import { type Measurement, median, quartileRange } from "./measure.ts";
import { cpuMs } from "./proc.ts";
import { type Stack, startStack } from "./subjects.ts";

export const CHOOSING_NAME = "proxy-3-pools";

const MODEL_OF_ONE = "bench-model-of-one-pool";
/** More than what one engine's queue can cost: the lot goes to the first pool. */
const DEAR_MS = 60_000;
const BODY_BYTES = 4_000;
const BODIES = 256;
const CONNECTIONS = 16;
/** After a round: longer than the pool takes to settle what a relay has reported. */
const SETTLE_MS = 700;
const START_MS_MAX = 20_000;
const MEASURE_MS_MAX = 45_000;
const ROUNDS_MIN = 5;

export interface ChoosingBudget {
  readonly warmUpRequests: number;
  readonly requestsPerRound: number;
  /** Of each of the three, at most. */
  readonly rounds: number;
}

const BUDGET: ChoosingBudget = { warmUpRequests: 1_500, requestsPerRound: 400, rounds: 14 };

interface Round {
  readonly one: number;
  readonly three: number;
  readonly bare: number;
}

/** The figure with the goal comes first. */
export async function* measureChoosing(budget = BUDGET): AsyncGenerator<Measurement> {
  const bodies = bodiesFor(MODEL);
  const dear = { extraMs: DEAR_MS };
  const stack = await startStack(bodies, {
    pool: { models: [MODEL, MODEL_OF_ONE] },
    morePools: [dear, dear],
  });
  let rounds: Round[];
  try {
    const options = { connections: CONNECTIONS, isStream: false };
    const one = new LoadClient(stack.fairlead, { ...options, bodies: bodiesFor(MODEL_OF_ONE) });
    const three = new LoadClient(stack.fairlead, { ...options, bodies });
    const bare = new LoadClient(stack.bare, { ...options, bodies });
    const clients = { one, three, bare };
    try {
      for (const client of Object.values(clients)) await client.untilAnswers();
      await untilFresh(stack);
      rounds = await measureRounds(clients, budget);
    } finally {
      await Promise.all(Object.values(clients).map((client) => client.close()));
    }
  } finally {
    await stack.stop();
  }
  yield* figures(rounds);
}

function bodiesFor(model: string): string[] {
  return Array.from({ length: BODIES }, (_, seed) =>
    createChatBody({ bodyBytes: BODY_BYTES, isStream: false, model, seed }),
  );
}

/** A choice among pools of which some say nothing costs otherwise. */
async function untilFresh({ url, adminKey }: Pick<Stack, "url" | "adminKey">): Promise<void> {
  const deadlineMs = performance.now() + START_MS_MAX;
  const headers = { authorization: `Bearer ${adminKey}` };
  for (;;) {
    const answer = await fetch(`${url}/admin/v1/pools`, { headers });
    const { pools } = (await answer.json()) as { pools: { state: string }[] };
    if (pools.every(({ state }) => state === "fresh")) return;
    if (performance.now() > deadlineMs)
      throw new Error(`not all pools are fresh: ${JSON.stringify(pools)}`);
    await sleep(100);
  }
}

async function measureRounds(
  clients: Readonly<Record<keyof Round, LoadClient>>,
  budget: ChoosingBudget,
): Promise<Round[]> {
  for (const client of Object.values(clients)) {
    await client.send(client.prepare(budget.warmUpRequests), CONNECTIONS);
  }
  await sleep(SETTLE_MS);
  const names = ["one", "three", "bare"] as const;
  const rounds: Round[] = [];
  const deadlineMs = performance.now() + MEASURE_MS_MAX;
  for (let i = 0; i < budget.rounds; i++) {
    if (i >= ROUNDS_MIN && performance.now() > deadlineMs) break;
    const measured = { one: 0, three: 0, bare: 0 };
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(i + turn) % names.length]!;
      measured[name] = await measureRound(clients[name], budget.requestsPerRound);
    }
    rounds.push(measured);
  }
  return rounds;
}

/** CPU ms a request. Ends with the pause that keeps its traces out of the next round. */
async function measureRound(client: LoadClient, requests: number): Promise<number> {
  const prepared = client.prepare(requests);
  const { pids } = client.subject;
  const before = cpuMs(pids);
  await client.send(prepared, CONNECTIONS);
  await sleep(SETTLE_MS);
  return (cpuMs(pids) - before) / requests;
}

function* figures(rounds: readonly Round[]): Generator<Measurement> {
  const bench = CHOOSING_NAME;
  const added = rounds.map(({ one, three, bare }) => (three - one) / bare);
  const alone = { bench, ratio: null, against: null };
  yield { ...alone, metric: "choice_bare_workers", value: median(added), unit: "x" };
  yield { ...alone, metric: "choice_spread", value: quartileRange(added), unit: "x" };
  const addedMs = median(rounds.map(({ one, three }) => three - one));
  yield { ...alone, metric: "choice_cpu_ms", value: addedMs, unit: "ms" };
  const bareMs = median(rounds.map(({ bare }) => bare));
  for (const name of ["one", "three"] as const) {
    const value = median(rounds.map((round) => round[name]));
    const ratio = value / bareMs;
    const metric = `cpu_ms_${name === "one" ? "1_pool" : "3_pools"}`;
    yield { bench, metric, value, unit: "ms", ratio, against: "bare Worker" };
  }
}
