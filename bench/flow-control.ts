// FlowController beside one list that is looked through. The shapes are those of llm-d's benchmarks of its
// own: FlowController_PerformanceMatrix, TopologyChurn and MassCancellation.

import { UNLIMITED } from "../src/scheduler/flow-control/capacity.ts";
import {
  type FairnessPolicy,
  QUEUED_KEYS_MAX,
  type QueuedRequest,
} from "../src/scheduler/flow-control/contracts.ts";
import { FlowController } from "../src/scheduler/flow-control/flow-controller.ts";
import { SaturationMeter } from "../src/scheduler/flow-control/saturation.ts";
import { PrefixTree } from "../src/scheduler/kv/prefix-tree.ts";
import { EndpointTable, ENDPOINTS_MAX } from "../src/scheduler/model/endpoint-table.ts";
import { localityFairness } from "../src/scheduler/plugins/flow-control/locality-fairness.ts";
import { utilizationDetector } from "../src/scheduler/plugins/filter/utilization-detector.ts";
import { fcfsOrderingPolicy } from "../src/scheduler/plugins/flow-control/fcfs-ordering-policy.ts";
import { staticUsageLimitPolicy } from "../src/scheduler/plugins/flow-control/static-usage-limit-policy.ts";
import { weightedTokenFairness } from "../src/scheduler/plugins/flow-control/weighted-token-fairness.ts";
import { createRng, type Rng } from "../src/scheduler/support/rng.ts";
import {
  liveBytes,
  type Measurement,
  nanosecondsEach,
  sink,
  type Timing,
  TIMING,
} from "./measure.ts";
import { NaiveFlowControl } from "./naive-flow-control.ts";

export const FLOW_CONTROL_NAME = "flow-control";
const AGAINST = "one list";
/** Requests that wait all the time. */
const BACKLOG = 5_000;
const ZIPF = 1.1;
const QUEUED_FOR_BYTES = 10_000;
const WEIGHTS = { outputWeight: 2 };
const WIRING = { name: "bench", profiles: [], instance: () => ({}) };

/** In flight at most (0: any number), bands, and flows. */
export interface MatrixShape {
  readonly egress: number;
  readonly bands: number;
  readonly flows: number;
}

const MATRIX: readonly MatrixShape[] = [0, 1, 100].flatMap((egress) =>
  [1, 8].flatMap((bands) => [10, 5_000].map((flows) => ({ egress, bands, flows }))),
);

function createController(
  fairness = weightedTokenFairness.create(WEIGHTS, WIRING),
): FlowController {
  const band = {
    limits: UNLIMITED,
    ttls: { withEndpointsMs: 60_000, withoutEndpointsMs: 60_000 },
    fairness: fairness as FairnessPolicy,
    ordering: fcfsOrderingPolicy.create({}, WIRING),
  };
  const settings = {
    limits: UNLIMITED,
    usageLimit: staticUsageLimitPolicy.create({ threshold: 1 }, WIRING),
    bands: new Map(),
    defaultBand: band,
    defaultNegativeBand: band,
  };
  const controller = new FlowController(settings, 0);
  controller.setEndpointCount(1, 0);
  return controller;
}

/** Draws of 0 .. count − 1, lower ones more often. */
function zipf(count: number, rng: Rng): () => number {
  const upTo = new Float64Array(count);
  let sum = 0;
  for (let i = 0; i < count; i++) upTo[i] = sum += (i + 1) ** -ZIPF;
  return () => {
    const at = rng() * sum;
    let low = 0;
    for (let high = count - 1; low < high;) {
      const middle = (low + high) >> 1;
      if (upTo[middle]! < at) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

/** Requests as they come; flows by Zipf, bodies of 100 bytes to 9 kB. */
class Arrivals {
  readonly #rng = createRng(5);
  readonly #flow: () => number;
  readonly #bands: number;
  #serial = 0;

  constructor({ bands, flows }: Pick<MatrixShape, "bands" | "flows">) {
    this.#flow = zipf(flows, this.#rng);
    this.#bands = bands;
  }

  next(keys: Uint32Array = NO_KEYS): QueuedRequest {
    this.#serial += 1;
    const bytes = 100 + Math.floor(this.#rng() * 8_900);
    return {
      requestId: `r${this.#serial}`,
      attempt: 0,
      fairnessId: `flow-${this.#flow()}`,
      priority: Math.floor(this.#rng() * this.#bands),
      weight: 1,
      bytes,
      promptTokens: bytes >> 2,
      uncachedTokens: bytes >> 3,
      outputTokens: 100,
      // A hundred thousand a second, so that nobody's time in the queue ends meanwhile.
      receivedAtMs: this.#serial / 100,
      keys,
      blocksPerKey: 1,
    };
  }
}

const NO_KEYS = new Uint32Array(0);

/** A pool at work: each call brings a request, and lets through what there is room for. */
class PoolAtWork {
  readonly #controller = createController();
  readonly #arrivals: Arrivals;
  readonly #inFlight: QueuedRequest[] = [];
  readonly #egress: number;
  #ended = 0;
  #nowMs = 0;

  constructor(shape: MatrixShape) {
    this.#arrivals = new Arrivals(shape);
    this.#egress = shape.egress;
    if (shape.egress > 0) for (let i = 0; i < BACKLOG; i++) this.#enqueue();
  }

  /** One request comes, one is let through, one ends. */
  step(): void {
    this.#enqueue();
    this.#controller.advance(this.#nowMs);
    const inFlightCount = this.#inFlight.length - this.#ended;
    if (this.#egress > 0 && inFlightCount >= this.#egress) this.#end();
    const request = this.#controller.next(this.#nowMs, IDLE)!;
    this.#inFlight.push(request);
    sink.value += request.bytes;
    if (this.#egress === 0) this.#end();
  }

  #enqueue(): void {
    const request = this.#arrivals.next();
    this.#nowMs = request.receivedAtMs;
    this.#controller.enqueue(request, this.#nowMs);
  }

  #end(): void {
    const { requestId } = this.#inFlight[this.#ended++]!;
    this.#controller.settled(requestId, 0, { nowMs: this.#nowMs });
    if (this.#ended < 1_000) return;
    this.#inFlight.splice(0, this.#ended);
    this.#ended = 0;
  }
}

const IDLE = { saturation: 0 };

class NaiveAtWork {
  readonly #queue = new NaiveFlowControl();
  readonly #arrivals: Arrivals;

  constructor(shape: MatrixShape) {
    this.#arrivals = new Arrivals(shape);
    if (shape.egress === 0) return;
    for (let i = 0; i < BACKLOG; i++) this.#queue.enqueue(this.#arrivals.next());
  }

  step(): void {
    this.#queue.enqueue(this.#arrivals.next());
    sink.value += this.#queue.next()!.bytes;
  }
}

function figure(metric: string, value: number, naive?: number): Measurement {
  return {
    bench: FLOW_CONTROL_NAME,
    metric,
    value,
    unit: metric.startsWith("bytes") ? "B" : "us",
    ratio: naive === undefined ? null : value / naive,
    against: naive === undefined ? null : AGAINST,
  };
}

async function* measureMatrix(
  shapes: readonly MatrixShape[],
  timing: Timing,
): AsyncGenerator<Measurement> {
  for (const shape of shapes) {
    const pool = new PoolAtWork(shape);
    const naive = new NaiveAtWork(shape);
    const ns = await nanosecondsEach(
      { pool: () => pool.step(), naive: () => naive.step() },
      timing,
    );
    const { egress, bands, flows } = shape;
    const metric = `us_egress${egress}_bands${bands}_flows${flows}`;
    yield figure(metric, ns.pool / 1e3, ns.naive / 1e3);
  }
}

/** Each request is of a flow that nobody has seen; flows are collected as they grow old. */
async function* measureChurn(timing: Timing): AsyncGenerator<Measurement> {
  const controller = createController();
  const arrivals = new Arrivals({ bands: 8, flows: 1 });
  let nowMs = 1_000_000;
  let serial = 0;
  const ns = await nanosecondsEach(
    {
      churn() {
        nowMs += 100;
        serial += 1;
        const made = { fairnessId: `new-${serial}`, receivedAtMs: nowMs };
        const request = { ...arrivals.next(), ...made };
        controller.enqueue(request, nowMs);
        controller.advance(nowMs);
        controller.next(nowMs, IDLE);
        controller.settled(request.requestId, 0, { nowMs });
      },
    },
    timing,
  );
  yield figure("us_topology_churn", ns.churn / 1e3);
}

/** How full the pool is, which is asked once a request that is let through. */
async function* measureSaturation(timing: Timing): AsyncGenerator<Measurement> {
  for (const count of [64, 1_000]) {
    const table = new EndpointTable();
    for (let i = 0; i < count; i++) {
      const [id, address] = [`default/e${i}`, `10.0.${i >> 8}.${i & 255}:8000`];
      const slot = table.add({ id, address, engine: "vllm", labels: {} })!;
      table.applySample(slot, { waiting: i % 5, running: 5, kvUsage: 0.5 }, 1_000);
    }
    const meter = new SaturationMeter(utilizationDetector.create(DETECTOR, WIRING));
    const view = { endpoints: table.columns, pool: table, nowMs: 1_000, staleAfterMs: 1_000 };
    const measure = () => void (sink.value += meter.measure(view).saturation);
    const ns = await nanosecondsEach({ measure }, timing);
    yield figure(`us_saturation_endpoints${count}`, ns.measure / 1e3);
  }
}

const DETECTOR = utilizationDetector.params.parse({});

/** Documents in a tree, two of three held by somebody, and requests that begin with one. */
class Documents {
  /** Look-ups so far. */
  lookUps = 0;
  readonly #tree = new PrefixTree();
  readonly #keys: readonly Uint32Array[];
  readonly #matched = new Int32Array(ENDPOINTS_MAX);
  readonly #rng = createRng(7);

  constructor() {
    this.#keys = Array.from({ length: DOCUMENTS }, () =>
      Uint32Array.from({ length: 2 * QUEUED_KEYS_MAX }, () => this.#rng() * 2 ** 32),
    );
    for (const [i, keys] of this.#keys.entries())
      if (i % 3 !== 0) this.#tree.insert(keys, i % ENDPOINTS);
  }

  next(): Uint32Array {
    return this.#keys[Math.floor(this.#rng() * DOCUMENTS)]!;
  }

  readonly matchTokens = ({ keys }: QueuedRequest): number => {
    this.lookUps += 1;
    this.#tree.match(keys, this.#matched);
    let best = 0;
    for (let slot = 0; slot < ENDPOINTS; slot++) best = Math.max(best, this.#matched[slot]!);
    return best;
  };
}

const DOCUMENTS = 2_000;
const ENDPOINTS = 64;

/**
 * locality-fairness with BACKLOG waiting. `_burst`: a hundred thousand come a second, so that a match
 * serves many decisions; otherwise a second lies between two, and each has to look up all anew.
 */
async function* measureLocality(timing: Timing): AsyncGenerator<Measurement> {
  const documents = new Documents();
  const { matchTokens } = documents;
  for (const [metric, pauseMs] of [
    ["locality_burst", 0],
    ["locality", 1_000],
  ] as const) {
    const params = { ...WEIGHTS, quantumTokens: 32_768 };
    const controller = createController(localityFairness.create(params, WIRING));
    const arrivals = new Arrivals({ bands: 1, flows: 5_000 });
    let pausedMs = 0;
    let decisions = 0;
    const step = () => {
      const arrival = arrivals.next(documents.next());
      pausedMs += pauseMs;
      decisions += 1;
      const nowMs = arrival.receivedAtMs + pausedMs;
      controller.enqueue({ ...arrival, receivedAtMs: nowMs }, nowMs);
      if (controller.waitingCount <= BACKLOG) return;
      const request = controller.next(nowMs, { saturation: 0, matchTokens })!;
      controller.settled(request.requestId, 0, { nowMs });
    };
    for (let i = 0; i < BACKLOG; i++) step();
    [decisions, documents.lookUps] = [0, 0];
    const ns = await nanosecondsEach({ step }, timing);
    yield figure(`us_${metric}`, ns.step / 1e3);
    yield { ...figure(`lookups_${metric}`, documents.lookUps / decisions), unit: "count" };
  }
}

/** Everybody who waits leaves, in any order; time of one who comes and leaves. */
async function* measureCancellation(timing: Timing): AsyncGenerator<Measurement> {
  const controller = createController();
  const naive = new NaiveFlowControl();
  const arrivals = new Arrivals({ bands: 8, flows: 5_000 });
  const requests = Array.from({ length: BACKLOG }, () => arrivals.next());
  const leaving = requests.toSorted((a, b) => a.bytes - b.bytes);
  const ns = await nanosecondsEach(
    {
      controller() {
        for (const request of requests) controller.enqueue(request, 1_000);
        for (const { requestId } of leaving) controller.cancel(requestId, 0, 1_000);
      },
      naive() {
        for (const request of requests) naive.enqueue(request);
        for (const { requestId } of leaving) naive.cancel(requestId);
      },
    },
    timing,
  );
  const each = (value: number) => value / BACKLOG / 1e3;
  yield figure("us_mass_cancellation", each(ns.controller), each(ns.naive));
}

/** What one that waits weighs, without its request and with one of QUEUED_KEYS_MAX keys. */
function* measureBytes(): Generator<Measurement> {
  const arrivals = new Arrivals({ bands: 8, flows: 5_000 });
  const before = liveBytes();
  const requests = Array.from({ length: QUEUED_FOR_BYTES }, () =>
    arrivals.next(new Uint32Array(2 * QUEUED_KEYS_MAX)),
  );
  const between = liveBytes();
  const controller = createController();
  for (const request of requests) controller.enqueue(request, 1_000);
  const after = liveBytes();
  sink.value += controller.waitingCount + requests.length;
  yield figure("bytes_per_waiting", (after - between) / QUEUED_FOR_BYTES);
  yield figure("bytes_per_waiting_and_keys", (after - before) / QUEUED_FOR_BYTES);
}

export async function* measureFlowControl(
  shapes = MATRIX,
  timing = TIMING,
): AsyncGenerator<Measurement> {
  yield* measureMatrix(shapes, timing);
  yield* measureSaturation(timing);
  yield* measureLocality(timing);
  yield* measureChurn(timing);
  yield* measureCancellation(timing);
  yield* measureBytes();
}
