// What tests say to a pool's object: as the directory, as an agent on a real WebSocket, as a Worker.

import { env } from "cloudflare:workers";
import {
  encodeFrame,
  encodeMetrics,
  FRAME,
  type FramePlace,
  type FrameType,
} from "../../src/agents/protocol/codec.ts";
import type {
  EndpointRecord,
  FromObject,
  Hello,
  Mark,
  ModelsPayload,
  StartedTicket,
  TicketClosed,
  TicketOpened,
  TicketReport,
} from "../../src/agents/protocol/messages.ts";
import type { ResourcesPayload } from "../../src/agents/protocol/resources.ts";
import { PROTOCOL_VERSION } from "../../src/agents/protocol/version.ts";
import type {
  HeldGrant,
  PickGrant,
  PickRefusal,
  PickRequest,
  PickResult,
  WorkerRelease,
} from "../../src/durable/contract.ts";
import { schedulerConfigSchema } from "../../src/scheduler/config/schema.ts";

export const POOL = "eu-1";

export const poolStub = () => env.POOL.getByName(POOL);

export async function configurePool(
  version = 1,
  scrapeIntervalMs = 200,
  given: object = {},
): Promise<void> {
  const scheduler = schedulerConfigSchema.parse(given);
  await poolStub().configure({ name: POOL, scrapeIntervalMs, scheduler }, version);
}

export function endpoint(n: number): EndpointRecord {
  return { id: `default/e${n}`, address: `10.0.0.${n}:8000`, engine: "vllm", labels: {} };
}

/** Distinct keys for distinct `from`; `blocks` of them. */
export function contentKeys(from: number, blocks = 20): Uint32Array {
  return Uint32Array.from({ length: blocks * 2 }, (_, i) => from * 1_000_003 + i * 7_919 + 1);
}

export function pickRequest(requestId: string, shape: Partial<PickRequest["request"]> = {}) {
  return {
    request: {
      requestId,
      model: "m",
      tenant: "acme",
      priority: 0,
      keys: contentKeys(requestId.length),
      promptTokens: 1_280,
      outputTokensMax: 100,
      bodyBytes: 6_000,
      ...shape,
    },
    attempt: 0,
    exclude: [],
  } satisfies PickRequest;
}

/** Repeats `probe` until it gives something; a real object answers in its own time. */
export async function until<T>(
  probe: () => T | Promise<T>,
  withinMs = 10_000,
): Promise<NonNullable<T>> {
  const endMs = Date.now() + withinMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== null && value !== false) return value;
    if (Date.now() > endMs) throw new Error(`not within ${withinMs} ms: ${String(probe)}`);
    await scheduler.wait(10);
  }
}

/** One Worker's grants, as it holds them while it serves a request. */
export class TestWorker implements Disposable {
  #held: HeldGrant[] = [];

  async pick(request: PickRequest): Promise<PickResult> {
    // What comes through RPC has the types of stubs.
    const result = (await env.POOLS.pick(POOL, request)) as unknown as HeldGrant | PickRefusal;
    if (!result.ok) return result;
    this.#held.push(result);
    const { ticket, endpoints, stages, objectEpoch, edge, credit, responseHeaders } = result;
    return {
      ok: true,
      ticket,
      endpoints,
      ...(stages && { stages }),
      objectEpoch,
      ...(edge && { edge }),
      ...(credit && { credit }),
      ...(responseHeaders && { responseHeaders }),
    };
  }

  async release(how: WorkerRelease): Promise<void> {
    for (const grant of this.#held) await grant.handle.release(how);
  }

  [Symbol.dispose](): void {
    for (const grant of this.#held.splice(0)) grant[Symbol.dispose]();
  }
}

interface TestRow {
  readonly endpoint: number;
  readonly fields?: readonly number[];
  readonly ageMs?: number;
  readonly isPartial?: boolean;
}

/** One agent's end of its WebSocket. */
export class TestAgent {
  readonly messages: FromObject[] = [];
  closed: { code: number; reason: string } | undefined;
  readonly #socket: WebSocket;
  readonly #hello: Hello;
  #seq = 0;
  #reported = 0;

  private constructor(socket: WebSocket, hello: Hello) {
    this.#socket = socket;
    this.#hello = hello;
    socket.addEventListener("message", ({ data }) => {
      this.messages.push(JSON.parse(data as string) as FromObject);
    });
    socket.addEventListener("close", ({ code, reason }) => {
      this.closed = { code, reason };
    });
    socket.accept();
  }

  /** `path`: the pool that the connection is made to. */
  static async connect(hello: Partial<Hello> = {}, path = hello.pool ?? POOL): Promise<TestAgent> {
    const response = await env.POOLS.fetch(`https://worker/agents/v1/${path}`, {
      headers: { upgrade: "websocket" },
    });
    if (response.webSocket === null)
      throw new Error(`${response.status}: ${await response.text()}`);
    return new TestAgent(response.webSocket, {
      t: "hello",
      v: PROTOCOL_VERSION,
      role: "collector",
      pool: path,
      agent: "collector-0",
      epoch: "e1",
      ...hello,
    });
  }

  /** Connected and welcomed. */
  static async greeted(hello: Partial<Hello> = {}): Promise<TestAgent> {
    const agent = await TestAgent.connect(hello);
    agent.hello();
    await agent.received("configure");
    return agent;
  }

  hello(): void {
    this.send(JSON.stringify(this.#hello));
  }

  send(data: string | Uint8Array<ArrayBuffer>): void {
    this.#socket.send(data);
  }

  close(): void {
    this.#socket.close(1000, "done");
  }

  /** Leaves numbers out, as a lost frame would. */
  skip(frames: number): void {
    this.#seq += frames;
  }

  membership(endpoints: readonly EndpointRecord[]): void {
    this.#json(FRAME.membership, { endpoints });
  }

  /** The next reports; `numbers` where they are not new or others were given up. */
  reports(
    reports: readonly TicketReport[],
    numbers: { oldest?: number; first?: number } = {},
  ): void {
    if (this.#hello.v === 1) return this.#json(FRAME.tickets, { reports });
    const { oldest = 1, first = this.#reported + 1 } = numbers;
    this.#reported = first + reports.length - 1;
    this.#json(FRAME.tickets, { oldest, first, reports });
  }

  marks(marks: readonly Mark[]): void {
    this.#json(FRAME.marks, { marks });
  }

  models(payload: ModelsPayload): void {
    this.#json(FRAME.models, payload);
  }

  resources(payload: ResourcesPayload): void {
    this.#json(FRAME.resources, payload);
  }

  started(tickets: readonly StartedTicket[]): void {
    this.#json(FRAME.started, { tickets });
  }

  /** Fields in the order waiting, running, kv-usage, kv-block-size, kv-blocks; absent: unchanged. */
  metrics(rows: readonly TestRow[]): void {
    this.#seq += 1;
    this.send(
      encodeMetrics(
        { version: this.#hello.v, seq: this.#seq },
        rows.map(({ endpoint: index, fields = [], ageMs = 0, isPartial = false }) => ({
          endpoint: index,
          status: 0,
          ageMs,
          mask: (1 << fields.length) - 1,
          values: fields,
          ...(isPartial ? { isPartial } : {}),
        })),
      ),
    );
  }

  /** The next frame, as whoever knows its form encodes it. */
  frame(encode: (place: FramePlace) => Uint8Array<ArrayBuffer>): void {
    this.#seq += 1;
    this.send(encode({ version: this.#hello.v, seq: this.#seq }));
  }

  /** The first message of the kind, also if it came before; `count` for later ones. */
  received<T extends FromObject["t"]>(t: T, count = 1): Promise<Extract<FromObject, { t: T }>> {
    const isWanted = (message: FromObject): message is Extract<FromObject, { t: T }> =>
      message.t === t;
    return until(() => this.messages.filter(isWanted)[count - 1]);
  }

  #json(type: FrameType, value: unknown): void {
    this.#seq += 1;
    const header = { type, version: this.#hello.v, seq: this.#seq };
    this.send(encodeFrame(header, new TextEncoder().encode(JSON.stringify(value))));
  }
}

/** A configured pool with `count` idle endpoints, as its collector tells it. */
export async function poolWithEndpoints(count: number, given: object = {}): Promise<TestAgent> {
  await configurePool(1, 200, given);
  const collector = await TestAgent.greeted();
  const endpoints = Array.from({ length: count }, (_, i) => endpoint(i + 1));
  collector.membership(endpoints);
  collector.metrics(endpoints.map((_, i) => ({ endpoint: i, fields: [0, 0, 0, 16, 4_000] })));
  await until(async () => {
    const state = await poolStub().state();
    return state.endpoints.length === count && state.endpoints.every((e) => e.isFresh);
  });
  return collector;
}

export function opened(grant: PickGrant, address = grant.endpoints[0]!): TicketOpened {
  return { kind: "opened", ticket: grant.ticket, attempt: 0, endpoint: address };
}

export function closed(grant: PickGrant, address = grant.endpoints[0]!): TicketClosed {
  return {
    kind: "closed",
    ticket: grant.ticket,
    attempt: 0,
    endpoint: address,
    outcome: "ok",
    status: 200,
    ttftMs: 80,
    durationMs: 900,
    promptTokens: 1_300,
    cachedTokens: 1_024,
    completionTokens: 90,
    finishReason: "stop",
    failed: [],
  };
}
