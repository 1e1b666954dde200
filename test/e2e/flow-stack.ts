// A deployment with flow control for tests: engines that are easily full, tenants of several priorities
// and weights, and requests that hold a place for as long as the test wants.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import type { DecisionPage, PoolState, QueueState } from "../../src/durable/state.ts";
import {
  eventually,
  fairlead,
  startEngines,
  startFairlead,
  TIME_SCALE,
  type Engines,
  type Fairlead,
  type Finished,
} from "./harness.ts";

/** A machine that does much else at the same time still gets there. */
export const WAIT_MS = 30_000;
/** In real time: a request with n tokens takes the first and n − 1 of the others. */
const FIRST_TOKEN_MS = 40;
const TOKEN_MS = 200;
/** For minutes: until it is released. */
const OCCUPANT_TOKENS = 2_000;

/** Besides `default`, of priority 0 and weight 1. Each has one key: `sk-<id>-` and KEY_REST. */
const TENANTS = [
  { id: "vip", priority: 10 },
  { id: "heavy", priority: 0, weight: 2 },
  { id: "light", priority: 0 },
  { id: "gateway", priority: 0, trustedHop: true },
] as const;
const KEY_REST = "of-the-flow-control-tests";
type TenantId = (typeof TENANTS)[number]["id"] | "default";

const OBJECTIVES = [
  { name: "urgent", priority: 5 },
  { name: "batch", priority: -1 },
  { name: "bulk", priority: -2 },
];

/** Full with so many requests in flight for each engine, whatever the engines say. */
export function concurrencyScheduler(maxConcurrency: number, flowControl: object = {}): object {
  return schedulerOf({ type: "concurrency-detector", parameters: { maxConcurrency } }, flowControl);
}

/** One request at a time at each endpoint: also a cold prompt does not go where the place is taken. */
export function onePlaceEach(): object {
  return schedulerOf({ type: "concurrency-detector", parameters: { maxConcurrency: 1 } }, {}, [
    "concurrency-detector",
  ]);
}

/** Our default profile, with flow control; `filters` come before its own. */
export function schedulerOf(
  detector: { readonly type: string; readonly parameters: object },
  flowControl: object = {},
  filters: readonly string[] = [],
): object {
  const picker = { type: "max-score-picker", parameters: { maxNumOfEndpoints: 4 } };
  const others = ["ejection-filter", "metrics-freshness-filter", "latency-cost-scorer"];
  const profile = [...filters, ...others, picker.type];
  return {
    featureGates: ["flowControl"],
    plugins: [...others.map((type) => ({ type })), picker, detector],
    schedulingProfiles: [{ name: "default", plugins: profile.map((pluginRef) => ({ pluginRef })) }],
    flowControl: { ...flowControl, saturationDetector: { pluginRef: detector.type } },
  };
}

/** A request as a test asks for it. */
interface Wanted {
  readonly as?: TenantId;
  readonly headers?: Readonly<Record<string, string>>;
  readonly tokens?: number;
  readonly content?: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

interface Waiting {
  /** Each when its request has ended. */
  readonly answers: readonly Promise<Answer>[];
}

/** A stream that runs until it is let go. */
export interface Occupant {
  readonly endpoint: string;
  /** Its text so far. */
  readonly received: () => string;
  release(): Promise<void>;
}

interface SimRequest {
  readonly requestId: string;
  readonly receivedAtMs: number;
  readonly status: number;
  readonly outcome: string;
}

interface SimState {
  readonly running: number;
  readonly waiting: number;
  readonly requests: readonly SimRequest[];
}

export class FlowStack implements AsyncDisposable {
  /** Flags of an engine: two sequences, and times that do not depend on the load. */
  static readonly ENGINE = Object.entries({
    "max-num-seqs": "2",
    "time-factor-under-load": "1",
    "time-to-first-token": `${FIRST_TOKEN_MS / TIME_SCALE}ms`,
    "inter-token-latency": `${TOKEN_MS / TIME_SCALE}ms`,
  }).flatMap(([name, value]) => [`--${name}`, value]);

  readonly up: Fairlead;
  /** Each in a process of its own. */
  readonly engines: Engines[];
  readonly #dir = mkdtempSync(join(tmpdir(), "fairlead-flow-control-"));

  private constructor(up: Fairlead, engines: Engines[]) {
    this.up = up;
    this.engines = engines;
  }

  static async start(engineCount: number, ...args: string[]): Promise<FlowStack> {
    const starting = Array.from({ length: engineCount }, () =>
      startEngines(1, ...FlowStack.ENGINE),
    );
    const engines = await Promise.all(starting);
    const endpoints = engines.flatMap(({ origins }) => ["--endpoint", origins[0]!]);
    return new FlowStack(await startFairlead(...endpoints, ...args), engines);
  }

  /** Puts scheduling in force, with the tenants and the objectives, and `pool` besides. */
  async configure(scheduler: object, pool: object = {}): Promise<void> {
    const { stdout } = await this.cli("config", "get");
    const config = parse(stdout) as { pools: object[]; tenants: { id: string }[] };
    const fields = { objectives: OBJECTIVES, allowExperimentalPlugins: true, scheduler, ...pool };
    Object.assign(config.pools[0]!, fields);
    const first = config.tenants.filter(({ id }) => id === "default");
    const others = TENANTS.map((tenant) => ({ ...tenant, keys: [this.keyOf(tenant.id)] }));
    const file = join(this.#dir, "fairlead.yaml");
    writeFileSync(file, stringify({ ...config, tenants: [...first, ...others] }));
    const { code, stderr } = await this.cli("config", "apply", file);
    if (code !== 0) throw new Error(stderr);
    await eventually("the tenants are known", async () => {
      const headers = { authorization: `Bearer ${this.keyOf("vip")}` };
      return (await this.up.fetch("/v1/models", { headers })).ok || undefined;
    });
  }

  cli(...args: string[]): Promise<Finished> {
    return fairlead([...args, "--state-dir", this.up.stateDir]);
  }

  keyOf(tenant: TenantId): string {
    return tenant === "default" ? this.up.key : `sk-${tenant}-${KEY_REST}`;
  }

  /** A request that is not streamed, to its end. */
  async ask(wanted: Wanted = {}): Promise<Answer> {
    const response = await this.#send(wanted, { max_tokens: wanted.tokens ?? 1 });
    return { status: response.status, headers: response.headers, text: await response.text() };
  }

  /** Asks one after the other, each when the one before waits. They find `before` waiting. */
  async enqueue(wanted: readonly Wanted[], before = 0): Promise<Waiting> {
    const answers: Promise<Answer>[] = [];
    for (const each of wanted) {
      answers.push(this.ask(each));
      await this.untilWaiting(before + answers.length);
    }
    return { answers };
  }

  /** A stream of which the first byte has arrived. */
  async occupy(wanted: Wanted = {}): Promise<Occupant> {
    const aborter = new AbortController();
    const members = { stream: true, max_tokens: OCCUPANT_TOKENS };
    const response = await this.#send(wanted, members, aborter.signal);
    if (!response.ok) throw new Error(`an occupant was refused: ${await response.text()}`);
    let text = "";
    const reading = (async () => {
      for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) text += chunk;
    })().catch(() => undefined);
    await eventually("the occupant runs", () => text !== "" || undefined, WAIT_MS);
    return {
      endpoint: response.headers.get("x-fairlead-endpoint")!,
      received: () => text,
      async release() {
        aborter.abort();
        await reading;
      },
    };
  }

  async queue(): Promise<QueueState> {
    const { queue } = (await this.up.admin("/pools/local/queue")) as { queue: QueueState };
    return queue;
  }

  async pool(): Promise<PoolState> {
    return (await this.up.admin("/pools/local")) as PoolState;
  }

  untilWaiting(count: number): Promise<true> {
    return this.until(`${count} requests wait`, async () => {
      return (await this.queue()).waiting.requests === count;
    });
  }

  /** The object knows of every engine what was so when this was called. */
  untilSampled(): Promise<true> {
    const calledMs = performance.now();
    return this.until("every engine has been sampled", async () => {
      const sinceMs = performance.now() - calledMs;
      const { endpoints } = await this.pool();
      return endpoints.every(({ sampleAgeMs }) => sampleAgeMs !== null && sampleAgeMs < sinceMs);
    });
  }

  /** Nothing waits, nothing is in flight, no ticket is open and no engine works. */
  untilIdle(timeoutMs = WAIT_MS): Promise<true> {
    const isIdle = async () => {
      const [queue, { tickets, endpoints }, engines] = await Promise.all([
        this.queue(),
        this.pool(),
        Promise.all(this.engines.map((engine) => simState(engine))),
      ]);
      const isEmpty = queue.waiting.requests + queue.inFlight + tickets.open === 0;
      const isUncounted = endpoints.every(
        (each) => each.inFlightRequests === 0 && each.inFlightTokens === 0,
      );
      return isEmpty && isUncounted && engines.every((each) => each.running + each.waiting === 0);
    };
    return this.until("nothing is under way", isIdle, timeoutMs);
  }

  until(what: string, holds: () => Promise<boolean>, timeoutMs = WAIT_MS): Promise<true> {
    return eventually(what, async () => (await holds()) || undefined, timeoutMs);
  }

  /** Requests that engines were sent, in that order. */
  async sent(): Promise<SimRequest[]> {
    const states = await Promise.all(this.engines.map((engine) => simState(engine)));
    const requests = states.flatMap((state) => state.requests);
    return requests.toSorted((a, b) => a.receivedAtMs - b.receivedAtMs);
  }

  /** `answers` by their index, in the order in which the object that is there now let them through. */
  async orderOf(answers: readonly Answer[]): Promise<number[]> {
    const ids = answers.map(({ headers }) => headers.get("x-fairlead-request-id"));
    const { decisions } = (await this.up.admin("/pools/local/decisions")) as DecisionPage;
    const order = decisions.map(({ requestId }) => ids.indexOf(requestId)).toReversed();
    return order.filter((index) => index >= 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.up[Symbol.asyncDispose]();
    for (const { child } of this.engines) child.kill("SIGKILL");
    rmSync(this.#dir, { recursive: true });
  }

  #send(wanted: Wanted, members: object, signal?: AbortSignal): Promise<Response> {
    const { as = "default", headers = {}, content = "Tell me something." } = wanted;
    const messages = [{ role: "user", content }];
    return this.up.fetch("/v1/chat/completions", {
      method: "POST",
      headers: {
        authorization: `Bearer ${this.keyOf(as)}`,
        "content-type": "application/json",
        ...headers,
      },
      body: JSON.stringify({ model: this.up.model, ignore_eos: true, messages, ...members }),
      ...(signal === undefined ? {} : { signal }),
    });
  }
}

export async function simState(engine: Engines): Promise<SimState> {
  const response = await fetch(`${engine.origins[0]}/sim/state`);
  return (await response.json()) as SimState;
}

/** What a client was told that was turned away. */
export function refusalOf({ status, headers, text }: Answer): object {
  const { error } = JSON.parse(text) as { error: Readonly<Record<string, unknown>> };
  const retryAfterS = Number(headers.get("retry-after"));
  return {
    status,
    reason: headers.get("x-llm-d-request-dropped-reason"),
    type: error["type"],
    members: Object.keys(error),
    isRetryAfterInRange: retryAfterS >= 1 && retryAfterS <= 60,
  };
}

/** What it is to be told. */
export function refused(status: 429 | 503, reason: string): object {
  const type = status === 429 ? "rate_limit_error" : "server_error";
  const members = ["message", "type", "param", "code"];
  return { status, reason, type, members, isRetryAfterInRange: true };
}
