// How soon a pool's object that is killed under load knows again what it knew: the process of its
// coordinator gets a SIGKILL while streams run, and the time until each thing is back is read from
// the object itself. The way up includes the start of a process, which a reset on Cloudflare does not.
//
//   answer_ms   kill to the first answer of the new object
//   loads_ms    from then to fresh samples of every endpoint
//   ledger_ms   from then to a ticket for every stream that still runs
//   tree_ms     from then to as many blocks in the prefix tree as before

import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { request } from "undici";
import type { PoolState } from "../src/durable/state.ts";
import { METRIC } from "../src/telemetry/names.ts";
import { FAIRLEAD, start } from "./child.ts";
import { CHAT_PATH, createChatBody } from "./conversation.ts";
import { type Measurement, median } from "./measure.ts";

export const RESTART_NAME = "object-restart";
const POOL = "local";
const ENDPOINTS = 3;
/** Longer than two writes of the prefix journal are apart. */
const JOURNAL_MS = 3_000;
const POLL_MS = 20;
const BACK_MS_MAX = 30_000;

export interface RestartBudget {
  /** Streams under way at the kill; each goes on for about ten seconds. */
  readonly streams: number;
  /** Of each prompt; together they are what the tree knows. */
  readonly bodyBytes: number;
  readonly rounds: number;
}

const BUDGET: RestartBudget = { streams: 60, bodyBytes: 8_000, rounds: 3 };

interface Times {
  readonly answer: number;
  readonly loads: number;
  readonly ledger: number;
  readonly tree: number;
}

export async function* measureObjectRestart(budget = BUDGET): AsyncGenerator<Measurement> {
  const rounds: Times[] = [];
  for (let i = 0; i < budget.rounds; i++) rounds.push(await measureRound(budget));
  for (const name of ["answer", "loads", "ledger", "tree"] as const) {
    const value = median(rounds.map((times) => times[name]));
    yield {
      bench: RESTART_NAME,
      metric: `${name}_ms`,
      value,
      unit: "ms",
      ratio: null,
      against: null,
    };
  }
}

async function measureRound(budget: RestartBudget): Promise<Times> {
  const dir = mkdtempSync(join(tmpdir(), "bench-restart-"));
  const args = ["up", "--json", "--exit-with-parent", "--port", "0", "--state-dir", dir];
  const up = start(dir, [FAIRLEAD, ...args, "--coordinators", "1", "--engines", `${ENDPOINTS}`]);
  try {
    const ready = (await up.ready) as Ready;
    const pool = new PoolProbe(ready);
    const streams = Array.from({ length: budget.streams }, (_, seed) =>
      streamOnce(ready, createChatBody({ bodyBytes: budget.bodyBytes, isStream: true, seed })),
    );
    await pool.until(({ tickets }) => tickets.open === budget.streams);
    await sleep(JOURNAL_MS);
    const times = await killAndWatch(pool, coordinatorOf(ready), budget.streams);
    await Promise.all(streams);
    return times;
  } finally {
    await up.stop();
  }
}

interface Ready {
  readonly url: string;
  readonly key: string;
  readonly adminKey: string;
  readonly model: string;
  readonly pids: Readonly<Record<string, number>>;
}

function coordinatorOf({ pids }: Ready): number {
  const [pid] = Object.entries(pids).flatMap(([name, id]) =>
    name.startsWith("coordinator") ? [id] : [],
  );
  if (pid === undefined) throw new Error("fairlead up names no coordinator among its processes");
  return pid;
}

async function killAndWatch(pool: PoolProbe, pid: number, streams: number): Promise<Times> {
  const { objectEpoch } = await pool.state();
  const blocks = await pool.blocks();
  process.kill(pid, "SIGKILL");
  const killedAtMs = performance.now();
  await pool.until((state) => state.objectEpoch !== objectEpoch);
  const answeredAtMs = performance.now();
  const since = async (isBack: Promise<void>) => {
    await isBack;
    return performance.now() - answeredAtMs;
  };
  const [loads, ledger, tree] = await Promise.all([
    since(
      pool.until(
        ({ endpoints }) =>
          endpoints.length === ENDPOINTS && endpoints.every((endpoint) => endpoint.isFresh),
      ),
    ),
    since(pool.until(({ tickets }) => tickets.open >= streams)),
    since(pool.untilBlocks(blocks)),
  ]);
  return { answer: answeredAtMs - killedAtMs, loads, ledger, tree };
}

/** What the object says of itself. */
class PoolProbe {
  readonly #ready: Ready;

  constructor(ready: Ready) {
    this.#ready = ready;
  }

  async state(): Promise<PoolState> {
    return JSON.parse(await this.#read(`/admin/v1/pools/${POOL}`)) as PoolState;
  }

  async blocks(): Promise<number> {
    const text = await this.#read(`/metrics/pools/${POOL}`);
    const line = text.split("\n").find((each) => each.startsWith(METRIC.prefixIndexerSize.name));
    return Number(line?.split(" ").at(-1));
  }

  until(isBack: (state: PoolState) => boolean): Promise<void> {
    return poll(async () => isBack(await this.state()));
  }

  untilBlocks(count: number): Promise<void> {
    return poll(async () => (await this.blocks()) >= count);
  }

  async #read(path: string): Promise<string> {
    const { url, adminKey } = this.#ready;
    const answer = await request(url + path, { headers: { authorization: `Bearer ${adminKey}` } });
    const text = await answer.body.text();
    if (answer.statusCode !== 200) throw new Error(`${path}: ${answer.statusCode}`);
    return text;
  }
}

/** Repeats `probe` until it holds. While the object is away, its failures only count as no. */
async function poll(probe: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + BACK_MS_MAX;
  for (;;) {
    try {
      if (await probe()) return;
    } catch (error) {
      if (performance.now() > deadlineMs) throw error;
    }
    if (performance.now() > deadlineMs) throw new Error(`not back within ${BACK_MS_MAX} ms`);
    await sleep(POLL_MS);
  }
}

/** One stream to its end. */
async function streamOnce({ url, key, model }: Ready, body: string): Promise<void> {
  const answer = await request(url + CHAT_PATH, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({
      ...(JSON.parse(body) as object),
      model,
      max_tokens: 800,
      ignore_eos: true,
    }),
  });
  const text = await answer.body.text();
  if (!text.includes("[DONE]")) throw new Error(`a stream broke: ${text.slice(-300)}`);
}
