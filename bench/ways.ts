// Every way in which a request comes to its endpoint, beside the bare Worker in the same run: decided by the
// isolate alone, by the pool's object, and by its queue; with one object and with four.
//
// Each way has a Fairlead of its own, with the one pool: what objects do in the background is part of its figure,
// and four do more of it than one. Objects are in the same process, so consulting costs here what it takes
// workerd, and no time on the way; `fairlead up --object-rtt-ms` is for that.
//
// LOCAL_NAME is a shorter look at the first way, with the object in a process of its own: what the Worker costs,
// and what the object.

import { createChatBody } from "./conversation.ts";
import { EDGE_METRIC } from "../src/telemetry/edge-names.ts";
import { type Measurement, median, quartileRange } from "./measure.ts";
import { measurePairs, type Pair, type ProxyBudget, type Round } from "./proxy.ts";
import { type Stack, startStack } from "./subjects.ts";

export const WAYS_NAME = "ways";
export const LOCAL_NAME = "local";
const AGAINST = "bare Worker";
const BODY_BYTES = 4_000;
const BODIES = 256;
const CONNECTIONS = 16;
const SHARDS = 4;
/** Of the pool with a queue: fewer than there are connections, so that most requests wait for another's end. */
const CONCURRENCY_MAX = 4;

const BUDGET: ProxyBudget = {
  warmUpRequests: 1_500,
  bareWarmUpRequests: 300,
  requestsPerRound: 300,
  rounds: 5,
  settleMs: 450,
};
/** Twice the warm-up: by then nearly all code is optimised, as in an isolate that has served for a while. */
const LOCAL_BUDGET: ProxyBudget = { ...BUDGET, warmUpRequests: 3_000, rounds: 7 };

interface Way {
  readonly name: string;
  /** Further members of the pool's configuration. */
  readonly pool: object;
}

/**
 * The engine answers at once, and its end is told some hundred ms later: what is in flight is far more than what
 * runs. Nobody is to take the pool for full by that, but where it is to be.
 */
const ROOMY = scheduling([], 4_096);
const FULL = scheduling(["flowControl"], CONCURRENCY_MAX);
const WAYS: readonly [Way, ...Way[]] = [
  { name: "local", pool: { decide: "local", ...ROOMY } },
  { name: "consult", pool: { decide: "consult", ...ROOMY } },
  { name: "queue", pool: { decide: "consult", ...FULL } },
  { name: "local_4_shards", pool: { decide: "local", shards: SHARDS, ...ROOMY } },
  { name: "consult_4_shards", pool: { decide: "consult", shards: SHARDS, ...ROOMY } },
];

/** `names`: of ways; all of them unless said otherwise. */
export async function* measureWays(
  budget = BUDGET,
  names = WAYS.map(({ name }) => name),
): AsyncGenerator<Measurement> {
  for (const way of WAYS) if (names.includes(way.name)) yield* measureWay(way, budget);
}

async function* measureWay({ name, pool }: Way, budget: ProxyBudget): AsyncGenerator<Measurement> {
  const { pairs, localShare } = await runWay(pool, budget);
  const figure = { bench: WAYS_NAME, pairs };
  yield ratioOf({ ...figure, metric: `cpu_ratio_${name}` }, (round) => round.cpuMsPerRequest);
  const ratios = ratiosOf(pairs, (round) => round.cpuMsPerRequest);
  const alone = { bench: WAYS_NAME, ratio: null, against: null };
  yield { ...alone, metric: `spread_${name}`, value: quartileRange(ratios), unit: "x" };
  const cpuMs = median(pairs.map(({ fairlead }) => fairlead.cpuMsPerRequest));
  const compared = { bench: WAYS_NAME, ratio: median(ratios), against: AGAINST };
  yield { ...compared, metric: `cpu_ms_${name}`, value: cpuMs, unit: "ms" };
  yield { ...alone, metric: `local_${name}`, value: localShare, unit: "" };
}

/** What deciding locally costs the Worker, and what the object that is told. */
export async function* measureLocal(budget = LOCAL_BUDGET): AsyncGenerator<Measurement> {
  const [{ pool }] = WAYS;
  const { pairs, localShare } = await runWay(pool, budget, { coordinators: 1 });
  const figure = { bench: LOCAL_NAME, pairs };
  const objectOf = (round: Round) => round.cpuMsPerRequest - round.workerCpuMsPerRequest;
  yield ratioOf({ ...figure, metric: "cpu_ratio" }, (round) => round.cpuMsPerRequest);
  yield ratioOf({ ...figure, metric: "cpu_ratio_worker" }, (round) => round.workerCpuMsPerRequest);
  yield ratioOf({ ...figure, metric: "cpu_ratio_object" }, objectOf);
  const ratios = ratiosOf(pairs, (round) => round.workerCpuMsPerRequest);
  const alone = { bench: LOCAL_NAME, ratio: null, against: null };
  yield { ...alone, metric: "spread_worker", value: quartileRange(ratios), unit: "x" };
  yield { ...alone, metric: "local", value: localShare, unit: "" };
}

async function runWay(
  pool: object,
  budget: ProxyBudget,
  options: { readonly coordinators?: number } = {},
): Promise<{ readonly pairs: readonly Pair[]; readonly localShare: number }> {
  const bodies = Array.from({ length: BODIES }, (_, seed) =>
    createChatBody({ bodyBytes: BODY_BYTES, isStream: false, seed }),
  );
  const stack = await startStack(bodies, { ...options, pool });
  try {
    const load = { bodies, isStream: false, connections: CONNECTIONS, budget };
    const pairs = await measurePairs(stack, load);
    return { pairs, localShare: await readLocalShare(stack) };
  } finally {
    await stack.stop();
  }
}

/** Beside all that the bare Worker takes. */
function ratiosOf(pairs: readonly Pair[], cpuMsOf: (round: Round) => number): number[] {
  return pairs.map(({ fairlead, bare }) => cpuMsOf(fairlead) / bare.cpuMsPerRequest);
}

function ratioOf(
  figure: { readonly bench: string; readonly metric: string; readonly pairs: readonly Pair[] },
  cpuMsOf: (round: Round) => number,
): Measurement {
  const { bench, metric, pairs } = figure;
  const ratio = median(ratiosOf(pairs, cpuMsOf));
  return { bench, metric, value: ratio, unit: "x", ratio, against: AGAINST };
}

/** Of the picks, warm-up included: until its first answer an isolate has to ask. */
async function readLocalShare({ url, adminKey }: Pick<Stack, "url" | "adminKey">): Promise<number> {
  const headers = { authorization: `Bearer ${adminKey}` };
  const text = await (await fetch(`${url}/metrics`, { headers })).text();
  const counts = { local: 0, consult: 0 };
  for (const line of text.split("\n")) {
    if (!line.startsWith(`${EDGE_METRIC.edgeDecisionsTotal.name}{`)) continue;
    const where = /where="(local|consult)"/.exec(line)![1] as keyof typeof counts;
    counts[where] += Number(line.slice(line.lastIndexOf(" ")));
  }
  return counts.local / Math.max(1, counts.local + counts.consult);
}

/** Our default profile, with room for so many at once. */
function scheduling(featureGates: readonly string[], maxConcurrency: number): object {
  const profile = ["ejection-filter", "metrics-freshness-filter", "latency-cost-scorer"];
  const detector = "concurrency-detector";
  const plugins = profile.map((pluginRef) => ({ pluginRef }));
  return {
    allowExperimentalPlugins: true,
    scheduler: {
      featureGates,
      plugins: [
        ...profile.map((type) => ({ type })),
        { type: detector, parameters: { maxConcurrency } },
      ],
      schedulingProfiles: [{ name: "default", plugins }],
      flowControl: { saturationDetector: { pluginRef: detector } },
    },
  };
}
