// A dispatch from a full queue: PickQueue with the real scheduler and its records, beside the pick alone.
//
//   dispatch             a ticket ends, and the next one goes
//   arrival and ask      one comes and gets a place; the oldest place is asked for, and gets an open call
//
// The two take turns, so as many wait all the time. Timers run when they are due, in virtual time.

import type { PickRequest } from "../../src/durable/contract.ts";
import { bestMatchTokens } from "../../src/durable/queue/best-match.ts";
import { PickQueue } from "../../src/durable/queue/pick-queue.ts";
import type { PickQueueOptions, QueueSettings } from "../../src/durable/queue/queue-options.ts";
import { WaitingPick } from "../../src/durable/queue/waiting-pick.ts";
import { loadSchedulerConfig } from "../../src/scheduler/config/load.ts";
import type { QueueFacts } from "../../src/scheduler/decisions/record.ts";
import { EndpointPicker } from "../../src/scheduler/endpoint-picker.ts";
import {
  flowControlSettingsOf,
  saturationDetectorOf,
} from "../../src/scheduler/flow-control/of-config.ts";
import { widenKeys } from "../../src/scheduler/flow-control/queued-keys.ts";
import { type Measurement, timeMs } from "../measure.ts";
import { createKeys } from "../pick.ts";
import { PoolInUse } from "../pool-in-use.ts";

export const QUEUE_DRAIN_NAME = "queue-drain";
const AGAINST = "the pick alone";
const ENDPOINTS = 64;
const PER_ENDPOINT = 4;
const FLOWS = 100;
/** Below the open calls, so that somebody is there for each end. */
const ROUND_CALLS = 500;
const PROMPT_TOKENS = 10_000;
const START_MS = 1_000_000;
/** Between two ends: a pool that serves two thousand a second. */
const STEP_MS = 0.5;

export interface DrainBudget {
  readonly waiting: number;
  /** Of dispatches in turn with as many arrivals, and as many picks alone. */
  readonly rounds: number;
}

const BUDGET: DrainBudget = { waiting: 5_000, rounds: 60 };

export async function* measureQueueDrain(budget = BUDGET): AsyncGenerator<Measurement> {
  const keys = createKeys(PROMPT_TOKENS, 1);
  const alone = new PickAlone(keys);
  const queue = new QueueAtWork(keys);
  queue.fill(budget.waiting);
  const fastestMs = { pick: Infinity, dispatch: Infinity, wait: Infinity };
  for (let round = 0; round < budget.rounds; round++) {
    const ms = {
      pick: await timeMs(() => alone.step(), ROUND_CALLS),
      dispatch: await timeMs(() => queue.dispatch(), ROUND_CALLS),
      wait: await timeMs(() => queue.replace(), ROUND_CALLS),
    };
    for (const name of ["pick", "dispatch", "wait"] as const)
      fastestMs[name] = Math.min(fastestMs[name], ms[name]);
  }
  const usOf = (ms: number) => (1e3 * ms) / ROUND_CALLS;
  const figure = (metric: string, ms: number): Measurement => ({
    bench: QUEUE_DRAIN_NAME,
    metric,
    value: usOf(ms),
    unit: "us",
    ratio: ms / fastestMs.pick,
    against: AGAINST,
  });
  yield figure("us_dispatch", fastestMs.dispatch);
  yield figure("us_of_flow_control", fastestMs.dispatch - fastestMs.pick);
  yield figure("us_arrival_and_ask", fastestMs.wait);
}

function settings(): QueueSettings {
  const detector = "concurrency-detector";
  const written = {
    featureGates: ["flowControl"],
    plugins: [{ type: detector, parameters: { maxConcurrency: PER_ENDPOINT } }],
    flowControl: { saturationDetector: { pluginRef: detector } },
  };
  const { config, issues } = loadSchedulerConfig(written, { allowExperimentalPlugins: true });
  if (config === undefined) throw new Error(JSON.stringify(issues));
  const { plugins } = new EndpointPicker(config);
  return {
    flowControl: flowControlSettingsOf(config, plugins),
    detector: saturationDetectorOf(config, plugins),
    priorities: [0],
  };
}

class PickAlone {
  readonly #keys: Uint32Array;
  readonly #pool = new PoolInUse(ENDPOINTS);

  constructor(keys: Uint32Array) {
    this.#keys = keys;
    this.#pool.warm(keys);
  }

  async step(): Promise<void> {
    const slot = this.#pool.pickRecorded(this.#keys);
    this.#pool.send(slot);
    await Promise.resolve();
    this.#pool.end(slot);
  }
}

class QueueAtWork {
  readonly #keys: Uint32Array;
  readonly #pool = new PoolInUse(ENDPOINTS);
  readonly #queue: PickQueue;
  readonly #inFlight: { readonly requestId: string; readonly slot: number }[] = [];
  /** Requests with numbered places, those that got theirs first in front. */
  #places: PickRequest[] = [];
  /** Of #places, how many have been asked for. */
  #askedFor = 0;
  #ended = 0;
  #timers: { readonly atMs: number; readonly callback: () => void }[] = [];
  #nowMs = START_MS;
  #serial = 0;

  constructor(keys: Uint32Array) {
    this.#keys = keys;
    this.#pool.warm(keys);
    this.#queue = new PickQueue(settings(), this.#options());
  }

  /** Until the pool is full and so many wait. */
  fill(waiting: number): void {
    while (this.#queue.waitingCount < waiting) this.#ask(this.#next());
  }

  async dispatch(): Promise<void> {
    const { requestId, slot } = this.#inFlight[this.#ended++]!;
    this.#pool.end(slot);
    this.#queue.settled(requestId, 0, USAGE);
    // The queue is looked at when this turn is over.
    await Promise.resolve();
  }

  /** One who waits for one who has gone. */
  replace(): void {
    this.#nowMs += STEP_MS;
    this.#runTimers();
    const place = this.#places[this.#askedFor++];
    if (place !== undefined) this.#ask(place);
    this.#ask(this.#next());
    if (this.#ended >= COMPACT) this.#ended -= this.#inFlight.splice(0, this.#ended).length;
    if (this.#askedFor >= COMPACT) this.#places = this.#places.slice(this.#askedFor);
    if (this.#askedFor >= COMPACT) this.#askedFor = 0;
  }

  #ask(request: PickRequest): void {
    const answer = this.#queue.pick(request, ++this.#serial);
    if (answer instanceof WaitingPick || answer.ok === true) return;
    if (answer.ok === false) throw new Error(`refused: ${answer.detail}`);
    this.#places.push(request);
  }

  #next(): PickRequest {
    const serial = ++this.#serial;
    return {
      request: {
        requestId: `r${serial}`,
        model: "m",
        tenant: "t",
        priority: 0,
        keys: this.#keys,
        promptTokens: PROMPT_TOKENS,
        outputTokensMax: 100,
        bodyBytes: 4 * PROMPT_TOKENS,
      },
      attempt: 0,
      exclude: [],
      flow: {
        fairnessId: `flow-${serial % FLOWS}`,
        weight: 1,
        receivedAtMs: this.#nowMs,
        waitsForEndpoints: true,
      },
    };
  }

  #options(): PickQueueOptions {
    const { tree } = this.#pool;
    const nothing = () => undefined;
    return {
      clock: () => this.#nowMs,
      pool: () => ({ ...this.#pool.view(), nowMs: this.#nowMs }),
      matchTokens: (keys, blocksPerKey) =>
        bestMatchTokens(tree, this.#pool.view().endpoints, { keys, blocksPerKey }),
      hasRoom: () => true,
      decide: (pick, queue) => this.#decide(pick, queue),
      failed: nothing,
      evict: nothing,
      ended: nothing,
      refused: nothing,
      askedAgain: nothing,
      setTimer: (callback, ms) => void this.#timers.push({ atMs: this.#nowMs + ms, callback }),
    };
  }

  #decide(pick: Pick<WaitingPick, "queued">, queue: QueueFacts) {
    const { requestId } = pick.queued;
    const slot = this.#pool.pickRecorded(widenKeys(pick.queued), queue);
    this.#pool.send(slot);
    this.#inFlight.push({ requestId, slot });
    return { ok: true as const, ticket: requestId, endpoints: ["h:8000"], objectEpoch: "e" };
  }

  #runTimers(): void {
    const due = this.#timers.filter(({ atMs }) => atMs <= this.#nowMs);
    if (due.length === 0) return;
    this.#timers = this.#timers.filter(({ atMs }) => atMs > this.#nowMs);
    for (const { callback } of due) callback();
  }
}

/** Entries that are left at the front of a list before it is cut. */
const COMPACT = 10_000;
const USAGE = { promptTokens: PROMPT_TOKENS, uncachedTokens: PROMPT_TOKENS / 2, outputTokens: 100 };
