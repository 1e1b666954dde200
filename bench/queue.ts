// A full queue, through the whole of Fairlead: what those that wait weigh, how soon one more is refused,
// what waiting costs meanwhile, and how soon all is as before when the storm is over.
//
//   over = resident with all waiting - resident with as many waiting as there are open calls
//        - (all - open calls) × what the bare Worker keeps for a request that it holds
//
// So a request with a numbered place is set against one whose Worker has read it and waits for a timer,
// and an open call is allowed what it costs by itself. Before each reading of memory requests pass, as
// in held-request.ts: those of a higher priority, which the queue lets by. The bare Worker holds in a
// process of its own, all the time.
//
// workerd needs two file descriptors for each of its connections, so a limit of 20,000 is not quite
// enough for 10,000 clients: as many wait as there is room for.

import { setTimeout as sleep } from "node:timers/promises";
import { createChatBody } from "./conversation.ts";
import { QUEUE_BOUNDS } from "../src/durable/queue/queue-options.ts";
import { LoadClient } from "./load-client.ts";
import { type Measurement, median, quantile } from "./measure.ts";
import { cpuMs, openFilesMax, residentBytes } from "./proc.ts";
import { Crowd } from "./queue/crowd.ts";
import { OCCUPANTS, QueueProbe, startQueueStack, waitingHeaders } from "./queue/stack.ts";
import type { Stack, Subject } from "./subjects.ts";

export const QUEUE_NAME = "queue";
const AGAINST = "bare Worker";
const BODIES = 64;
/** So that an isolate has room for all. */
const BODY_BYTES = 2_000;
const PASSING_CONNECTIONS = 16;
/** For the rest of what requests set off. */
const SETTLE_MS = 1_000;
/** Requests that say what one takes. */
const FRESH = 50;
/** In a row that have to take no longer than before. */
const FRESH_AFTER = 5;
const BACK_MS_MAX = 60_000;
const POLL_MS = 20;

export interface QueueBudget {
  /** All that the queue takes. */
  readonly waiting: number;
  /** Before each reading of memory. */
  readonly passing: number;
  readonly refused: number;
  /** How long those that wait are watched. */
  readonly watchMs: number;
}

const BUDGET: QueueBudget = { waiting: 10_000, passing: 2_000, refused: 200, watchMs: 20_000 };
const DESCRIPTORS_PER_CLIENT = 2;
/** For everything but those that wait. */
const DESCRIPTORS_LEFT = 200;

export async function* measureQueue(asked = BUDGET): AsyncGenerator<Measurement> {
  const roomFor = Math.floor((openFilesMax() - DESCRIPTORS_LEFT) / DESCRIPTORS_PER_CLIENT);
  const budget = { ...asked, waiting: Math.min(asked.waiting, roomFor) };
  const bodies = Array.from({ length: BODIES }, (_, seed) =>
    createChatBody({ bodyBytes: BODY_BYTES, isStream: false, seed }),
  );
  const stack = await startQueueStack(bodies, budget.waiting);
  try {
    await using probe = new QueueProbe(stack);
    yield* new QueueRun({ stack, probe, bodies, budget }).measure();
  } finally {
    await stack.stop();
  }
}

/** How a storm ends. */
interface StormEnd {
  readonly what: "answers" | "leaving";
  /** What requests took before. */
  readonly usual: readonly number[];
  /** Of the bare Worker, for each request. */
  readonly bareCpuMs?: number;
}

class QueueRun {
  readonly #stack: Stack;
  readonly #probe: QueueProbe;
  readonly #bodies: readonly string[];
  readonly #budget: QueueBudget;
  /** One request at a time, as it comes. */
  readonly #fresh: LoadClient;

  constructor(options: {
    readonly stack: Stack;
    readonly probe: QueueProbe;
    readonly bodies: readonly string[];
    readonly budget: QueueBudget;
  }) {
    this.#stack = options.stack;
    this.#probe = options.probe;
    this.#bodies = options.bodies;
    this.#budget = options.budget;
    this.#fresh = this.#client(options.stack.fairlead, 1);
  }

  async *measure(): AsyncGenerator<Measurement> {
    const { fairlead } = this.#stack;
    await this.#fresh.untilAnswers();
    const bare = await this.#measureBare();
    const storm = new Crowd(fairlead, this.#bodies);
    yield* this.#measureMemory(storm, bare.bytes);
    yield* this.#measureWaiting();
    yield* this.#measureRefusals();
    const usual = await this.#takes(FRESH);
    yield* this.#measureEnd({ what: "answers", usual }, async () => {
      this.#stack.engine.release();
      await storm.served();
    });
    const again = new Crowd(fairlead, this.#bodies);
    await this.#fill(again, this.#budget.waiting);
    const leaving = { what: "leaving" as const, usual, bareCpuMs: bare.leaveCpuMs };
    yield* this.#measureEnd(leaving, () => again.leave());
    await this.#fresh.close();
  }

  #client(subject: Subject, connections: number, rest: object = {}): LoadClient {
    return new LoadClient(subject, { bodies: this.#bodies, connections, isStream: false, ...rest });
  }

  /** Until so many wait. */
  async #fill(crowd: Crowd, waiting: number): Promise<void> {
    if (crowd.size === 0) this.#stack.engine.hold(OCCUPANTS);
    await crowd.join(waiting + OCCUPANTS - crowd.size, async () => {
      const { waiting: now, inFlight } = await this.#probe.queue();
      return now.requests + inFlight;
    });
  }

  async #readResident(subject: Subject): Promise<number> {
    const client = this.#client(subject, PASSING_CONNECTIONS);
    await client.untilAnswers();
    await client.send(client.prepare(this.#budget.passing), PASSING_CONNECTIONS);
    await client.close();
    await sleep(SETTLE_MS);
    return residentBytes(subject.pids);
  }

  /** What a request costs that the bare Worker holds: its memory, and processor time when its client leaves. */
  async #measureBare(): Promise<{ readonly bytes: number; readonly leaveCpuMs: number }> {
    const { bare } = this.#stack;
    const { waiting } = this.#budget;
    const before = await this.#readResident(bare);
    const crowd = new Crowd(bare, this.#bodies);
    await crowd.join(waiting, () => this.#probe.bareHeldCount());
    const held = (await this.#readResident(bare)) - before;
    const spentMs = cpuMs(bare.pids);
    await crowd.leave();
    // Answered when all of the others have been heard of.
    await this.#probe.bareHeldCount();
    return { bytes: held / waiting, leaveCpuMs: (cpuMs(bare.pids) - spentMs) / waiting };
  }

  async *#measureMemory(storm: Crowd, bareBytes: number): AsyncGenerator<Measurement> {
    const { fairlead } = this.#stack;
    const { waiting } = this.#budget;
    const openMax = Math.min(QUEUE_BOUNDS.openWaitsMax, waiting);
    const before = await this.#readResident(fairlead);
    await this.#fill(storm, openMax);
    const open = await this.#readResident(fairlead);
    await this.#fill(storm, waiting);
    const all = await this.#readResident(fairlead);
    const { openWaits, places } = await this.#probe.queue();
    const over = all - open - (waiting - openMax) * bareBytes;
    yield figure("open_calls", openWaits, "");
    yield figure("places", places, "");
    yield figure("bytes_held_by_bare", bareBytes, "B");
    yield figure("bytes_per_open_call", (open - before) / openMax, "B", bareBytes);
    yield figure("bytes_per_waiting", (all - before) / waiting, "B", bareBytes);
    yield figure("mb_over", over / 2 ** 20, "MiB");
  }

  /** Nobody is served, and nothing comes: only places are asked for. */
  async *#measureWaiting(): AsyncGenerator<Measurement> {
    const { pids } = this.#stack.fairlead;
    const count = await this.#probe.askedAgainCount();
    const spentMs = cpuMs(pids);
    const startedMs = performance.now();
    await sleep(this.#budget.watchMs);
    const seconds = (performance.now() - startedMs) / 1_000;
    yield figure("cpu_ms_per_s", (cpuMs(pids) - spentMs) / seconds, "ms/s");
    yield figure("asked_per_s", ((await this.#probe.askedAgainCount()) - count) / seconds, "1/s");
  }

  /** In turn with the bare Worker. */
  async *#measureRefusals(): AsyncGenerator<Measurement> {
    const headers = waitingHeaders(0);
    const refused = this.#client(this.#stack.fairlead, 1, { headers, status: 429 });
    const bare = this.#client(this.#stack.bare, 1);
    const took = { refused: [] as number[], bare: [] as number[] };
    for (let i = 0; i < this.#budget.refused; i++) {
      took.refused.push(await timeMs(refused));
      took.bare.push(await timeMs(bare));
    }
    await Promise.all([refused.close(), bare.close()]);
    for (const [name, at] of [
      ["p50", 0.5],
      ["p99", 0.99],
    ] as const)
      yield figure(`ms_refused_${name}`, quantile(took.refused, at), "ms", quantile(took.bare, at));
  }

  /** What a request takes that passes. */
  async #takes(count: number): Promise<number[]> {
    const took: number[] = [];
    for (let i = 0; i < count; i++) took.push(await timeMs(this.#fresh));
    return took;
  }

  /** From the end of the storm, which `end` brings about, until nobody waits, and a request takes what it took. */
  async *#measureEnd(
    { what, usual, bareCpuMs }: StormEnd,
    end: () => Promise<void>,
  ): AsyncGenerator<Measurement> {
    const { pids } = this.#stack.fairlead;
    const spentMs = cpuMs(pids);
    const startedMs = performance.now();
    await end();
    const endedMs = performance.now();
    await within(() => this.#isIdle());
    const idleMs = performance.now() - endedMs;
    const cpuEachMs = (cpuMs(pids) - spentMs) / this.#budget.waiting;
    const most = quantile(usual, 0.9);
    await within(async () => median(await this.#takes(FRESH_AFTER)) <= most);
    const backMs = performance.now() - endedMs;
    yield figure(`ms_of_${what}`, endedMs - startedMs, "ms");
    yield figure(`cpu_ms_of_${what}`, cpuEachMs, "ms", bareCpuMs);
    yield figure(`ms_idle_after_${what}`, idleMs, "ms");
    yield figure(`ms_as_before_after_${what}`, backMs, "ms");
  }

  async #isIdle(): Promise<boolean> {
    const [queue, { tickets }] = await Promise.all([this.#probe.queue(), this.#probe.pool()]);
    return queue.waiting.requests === 0 && queue.inFlight === 0 && tickets.open === 0;
  }
}

async function timeMs(client: LoadClient): Promise<number> {
  const prepared = client.prepare(1);
  const startedMs = performance.now();
  await client.send(prepared, 1);
  return performance.now() - startedMs;
}

async function within(isSo: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + BACK_MS_MAX;
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) throw new Error(`not as before in ${BACK_MS_MAX} ms`);
    await sleep(POLL_MS);
  }
}

function figure(metric: string, value: number, unit: string, bare?: number): Measurement {
  return {
    bench: QUEUE_NAME,
    metric,
    value,
    unit,
    ratio: bare === undefined ? null : value / bare,
    against: bare === undefined ? null : AGAINST,
  };
}
