// A pick queue over a pool of a certain capacity, in virtual time, and what its Workers do and hear.

import type { PickFlow, PickRequest } from "../../../src/durable/contract.ts";
import { PickQueue } from "../../../src/durable/queue/pick-queue.ts";
import { QUEUE_BOUNDS, type QueueSettings } from "../../../src/durable/queue/queue-options.ts";
import { type WaitAnswer, WaitingPick } from "../../../src/durable/queue/waiting-pick.ts";
import type { QueueEnd } from "../../../src/durable/queue-metrics.ts";
import { loadSchedulerConfig } from "../../../src/scheduler/config/load.ts";
import { EndpointPicker } from "../../../src/scheduler/endpoint-picker.ts";
import { flowControlSettingsOf } from "../../../src/scheduler/flow-control/of-config.ts";
import type { Ejected } from "../../../src/scheduler/flow-control/outcomes.ts";
import { EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";

const START_MS = 1_000_000;

export interface QueueShape {
  readonly capacity?: number;
  readonly flowControl?: object;
  readonly limits?: Partial<Record<keyof typeof QUEUE_BOUNDS, number>>;
}

export function queueSettings(capacityOf: () => number, flowControl: object = {}): QueueSettings {
  const written = { featureGates: ["flowControl"], flowControl };
  const { config, issues } = loadSchedulerConfig(written, { allowExperimentalPlugins: true });
  if (config === undefined) throw new Error(JSON.stringify(issues));
  return {
    flowControl: flowControlSettingsOf(config, new EndpointPicker(config).plugins),
    detector: { saturation: capacityOf, lagMs: () => 0 },
    priorities: [0],
  };
}

/** Time passes only by `pass`; timers run then. */
export class QueueModel {
  nowMs = START_MS;
  capacity: number;
  readonly inFlight = new Set<string>();
  /** In order. */
  readonly dispatched: string[] = [];
  readonly ends: QueueEnd[] = [];
  readonly evicted: Ejected[] = [];
  readonly refused: string[] = [];
  failureCount = 0;
  hasRoom = true;
  /** What happens to a request when it is decided on, by its id. */
  readonly decisions = new Map<string, "refuse" | "throw">();
  askedAgainCount = 0;
  queue: PickQueue;
  readonly #shape: QueueShape;
  readonly #table = new EndpointTable();
  #timers: { atMs: number; callback: () => void }[] = [];
  #holder = 0;

  constructor(shape: QueueShape = {}) {
    this.#shape = shape;
    this.capacity = shape.capacity ?? 1;
    this.setEndpoint(true);
    this.queue = this.#create();
  }

  /** As an object that has lost its memory. */
  restart(): void {
    this.#timers = [];
    this.queue = this.#create();
  }

  reconfigure(flowControl: object): void {
    this.queue.configure(queueSettings(() => this.#saturation, flowControl));
  }

  get #saturation(): number {
    return this.inFlight.size / this.capacity;
  }

  setEndpoint(isThere: boolean): void {
    const [slot] = this.#table.slots();
    if (isThere && slot === undefined)
      this.#table.add({ id: "default/e1", address: "10.0.0.1:8000", engine: "vllm", labels: {} });
    if (!isThere && slot !== undefined) this.#table.remove(slot);
    this.queue?.drainSoon();
  }

  /** The answer, and the handle's number where it is a wait. */
  pick(request: PickRequest): { answer: WaitAnswer | WaitingPick; holder: number } {
    this.#holder += 1;
    return { answer: this.queue.pick(request, this.#holder), holder: this.#holder };
  }

  complete(requestId: string): void {
    if (!this.inFlight.delete(requestId)) return;
    this.queue.settled(requestId, 0, { promptTokens: 10, uncachedTokens: 10, outputTokens: 5 });
    this.queue.drainSoon();
  }

  /** Runs what is planned until then. */
  async pass(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms;
    await settle();
    for (;;) {
      const due = this.#timers.filter(({ atMs }) => atMs <= untilMs);
      const next = due.toSorted((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.callback();
      await settle();
    }
    this.nowMs = untilMs;
  }

  #create(): PickQueue {
    const { flowControl, limits } = this.#shape;
    return new PickQueue(
      queueSettings(() => this.#saturation, flowControl),
      {
        clock: () => this.nowMs,
        pool: () => ({
          endpoints: this.#table.columns,
          pool: this.#table,
          nowMs: this.nowMs,
          staleAfterMs: 1_000,
        }),
        matchTokens: () => 0,
        hasRoom: () => this.hasRoom,
        failed: () => (this.failureCount += 1),
        decide: (pick) => this.#decide(pick),
        evict: (victim) => void this.evicted.push(victim),
        ended: (end) => void this.ends.push(end),
        askedAgain: () => void (this.askedAgainCount += 1),
        refused: ({ request }) => void this.refused.push(request.requestId),
        setTimer: (callback, ms) => void this.#timers.push({ atMs: this.nowMs + ms, callback }),
        limits: { ...QUEUE_BOUNDS, ...limits },
      },
    );
  }

  #decide({ queued }: WaitingPick) {
    const { requestId } = queued;
    const decision = this.decisions.get(requestId);
    if (decision === "throw") throw new Error(requestId);
    if (decision === "refuse")
      return { ok: false as const, reason: "rejected-no-endpoints" as const, ...REFUSED };
    if (this.inFlight.has(requestId)) throw new Error(`${requestId} is let through twice`);
    this.inFlight.add(requestId);
    this.dispatched.push(requestId);
    return { ok: true as const, ticket: requestId, endpoints: ["10.0.0.1:8000"], objectEpoch: "e" };
  }
}

const REFUSED = { detail: "nobody passes", retryAfterMs: 5_000 };

/** Microtasks planned by now have run. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

export interface PickShape extends Partial<PickFlow> {
  readonly priority?: number;
  readonly bodyBytes?: number;
}

export function pickOf(requestId: string, nowMs: number, shape: PickShape = {}): PickRequest {
  const { priority = 0, bodyBytes = 100, ...flow } = shape;
  return {
    request: {
      requestId,
      model: "m",
      tenant: "acme",
      priority,
      keys: new Uint32Array(0),
      promptTokens: 10,
      outputTokensMax: 5,
      bodyBytes,
    },
    attempt: 0,
    exclude: [],
    flow: {
      fairnessId: "acme",
      weight: 1,
      receivedAtMs: nowMs,
      waitsForEndpoints: true,
      ...flow,
    },
  };
}

export function isGranted(answer: WaitAnswer | WaitingPick): boolean {
  return !(answer instanceof WaitingPick) && answer.ok === true;
}

export function isPlace(answer: WaitAnswer | WaitingPick) {
  return !(answer instanceof WaitingPick) && answer.ok === "queued";
}

/** The pool has no room left. */
export function fill(model: QueueModel): void {
  for (let i = model.inFlight.size; i < model.capacity; i++) {
    const { answer } = ask(model, `fill-${i}`);
    if (!isGranted(answer)) throw new Error(`fill-${i}: ${JSON.stringify(answer)}`);
  }
}

/** A request that comes now. */
export function ask(model: QueueModel, id: string, shape: PickShape = {}) {
  return model.pick(pickOf(id, model.nowMs, shape));
}

/** The wait of a request that gets an open call. */
export function wait(model: QueueModel, id: string, shape: PickShape = {}): WaitingPick {
  const { answer } = ask(model, id, shape);
  if (!(answer instanceof WaitingPick)) throw new Error(`${id}: ${JSON.stringify(answer)}`);
  return answer;
}
