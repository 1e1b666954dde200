// Endpoints whose engines report other cached tokens than their events promised, over real sockets: what is
// compared and shown, who is demoted and comes back.

import { reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { KvStream } from "../../../src/agents/collector/kv-stream/kv-stream.ts";
import type { TicketReport } from "../../../src/agents/protocol/messages.ts";
import type { EndpointState } from "../../../src/durable/state.ts";
import { TRUST_LIMITS } from "../../../src/durable/kv/cache-trust.ts";
import { HELD_ON_GPU } from "../../../src/scheduler/kv/residency/holding.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import {
  closed,
  contentKeys,
  endpoint,
  opened,
  pickRequest,
  poolStub,
  poolWithEndpoints,
  TestAgent,
  TestWorker,
  until,
} from "../pool-client.ts";

const ENDPOINTS = [endpoint(1), endpoint(2)];
const BLOCKS = 20;
const BLOCK_TOKENS = 56;
/** Of a prompt as long as its keys. */
const PROMPT_TOKENS = BLOCKS * BLOCK_TOKENS;

/** The default profile, with sockets to a collector that follows what engines hold, and to a relay. */
class Pool {
  readonly #collector: TestAgent;
  readonly #relay: TestAgent;
  readonly #stream: KvStream;
  /** By the words of a key: tokens up to it. */
  readonly #ends = new Map<string, number>();
  #read = 0;
  #requests = 0;

  private constructor(collector: TestAgent, relay: TestAgent) {
    this.#collector = collector;
    this.#relay = relay;
    const sources = ENDPOINTS.map(({ id }) => ({ endpoint: id, rank: 0 }));
    this.#stream = new KvStream({
      send: (encode) => {
        collector.frame((place) => new Uint8Array(encode(place)));
        return true;
      },
      sourceAt: (slot) => sources[slot],
      whole: () => new Map(ENDPOINTS.map(({ id }) => [id, true])),
      tokensUpTo: (low, high) => this.#ends.get(`${low}:${high}`),
      registry: new MetricRegistry(),
    });
  }

  static async start(): Promise<Pool> {
    const collector = await poolWithEndpoints(ENDPOINTS.length);
    const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
    const pool = new Pool(collector, relay);
    const { kvWindowBytes, kvTokenEnds } = await collector.received("configure");
    pool.#stream.follow(ENDPOINTS);
    pool.#stream.configured(kvWindowBytes, kvTokenEnds);
    pool.#stream.listed();
    await pool.until((endpoints) => endpoints.every(({ knowledge }) => knowledge === "exact"));
    return pool;
  }

  /** Until what the object shows of endpoints is so. */
  async until(isSo: (endpoints: readonly EndpointState[]) => boolean): Promise<void> {
    await until(async () => {
      this.#turn();
      return isSo((await poolStub().state()).endpoints);
    });
  }

  /** What an engine's events claim: a prompt, known to be of so many tokens a block. */
  async hold(at: number, prompt: number): Promise<void> {
    const before = (await poolStub().state()).endpoints[at]!.knownBlocks!;
    const keys = contentKeys(prompt, BLOCKS);
    for (let i = 0; i < keys.length; i += 2) {
      this.#ends.set(`${keys[i]}:${keys[i + 1]}`, (i / 2 + 1) * BLOCK_TOKENS);
      this.#stream.held(at, keys[i]!, keys[i + 1]!, HELD_ON_GPU);
    }
    await this.until((endpoints) => endpoints[at]!.knownBlocks === before + BLOCKS);
  }

  /** A request, of which whoever serves it reports so many cached tokens. Gives where it went. */
  async request(
    prompt: number,
    cachedTokens: number | null,
    fields: Partial<TicketReport> = {},
  ): Promise<{ requestId: string; address: string }> {
    using worker = new TestWorker();
    const requestId = `r${this.#requests++}`;
    const grant = await worker.pick(
      pickRequest(requestId, { keys: contentKeys(prompt, BLOCKS), promptTokens: PROMPT_TOKENS }),
    );
    if (!grant.ok) throw new Error(grant.detail);
    const end = { ...closed(grant), promptTokens: PROMPT_TOKENS, cachedTokens, ...fields };
    this.#relay.reports([opened(grant), end as TicketReport]);
    await until(async () => (await poolStub().state()).tickets.open === 0);
    return { requestId, address: grant.endpoints[0]! };
  }

  /** Time passes, and the collector goes on scraping. */
  async later(ms: number): Promise<void> {
    vi.setSystemTime(Date.now() + ms);
    this.#collector.metrics(
      ENDPOINTS.map((_, i) => ({ endpoint: i, fields: [0, 0, 0, 16, 4_000] })),
    );
    await this.until((endpoints) => endpoints.every(({ isFresh }) => isFresh));
  }

  #turn(): void {
    for (const message of this.#collector.messages.slice(this.#read)) {
      if (message.t === "kv-send" || message.t === "kv-stop" || message.t === "kv-credit")
        this.#stream.received(message);
    }
    this.#read = this.#collector.messages.length;
    this.#stream.flush();
  }
}

const first = async () => (await poolStub().state()).endpoints[0]!;

beforeEach(() => {
  vi.useFakeTimers({ now: Date.now(), toFake: ["Date"] });
});
afterEach(async () => {
  vi.useRealTimers();
  await reset();
});

describe("predicted against reported cached tokens", { timeout: 30_000 }, () => {
  it("are compared by tokens, and shown by endpoint, in metrics and for each request", async () => {
    const pool = await Pool.start();
    await pool.hold(0, 3);
    const right = await pool.request(3, PROMPT_TOKENS - 16);
    expect(right.address).toBe(ENDPOINTS[0]!.address);
    await pool.later(3_000);
    const { requestId } = await pool.request(3, 300);
    expect((await first()).cacheAccuracy).toEqual({
      compared: 2,
      withinBlock: 1,
      meanErrorTokens: Math.round((16 + PROMPT_TOKENS - 300) / 2),
    });
    await pool.request(3, null);
    await pool.request(3, 0, { failed: [ENDPOINTS[1]!.address] });
    await pool.request(3, 0, { ttftMs: 60_000 });
    expect((await first()).cacheAccuracy!.compared).toBe(2);
    const { explanation } = await poolStub().explain(requestId);
    expect(explanation!.attempts[0]!.result).toMatchObject({
      predictedTokens: PROMPT_TOKENS,
      cachedTokens: 300,
    });
    const metrics = await env.POOLS.metrics("eu-1");
    expect(metrics).toContain('fairlead_kv_predictions_total{name="eu-1",outcome="right"} 1');
    expect(metrics).toContain('fairlead_kv_predictions_total{name="eu-1",outcome="over"} 1');
    for (const reason of ["unreported", "elsewhere", "waited"])
      expect(metrics).toContain(
        `fairlead_kv_predictions_skipped_total{name="eu-1",reason="${reason}"} 1`,
      );
    expect(metrics).toContain(
      `fairlead_kv_prediction_within_block_ratio{endpoint_name="${ENDPOINTS[0]!.id}"} 0.5`,
    );
    expect(metrics).toContain(
      `fairlead_kv_resident_keys{endpoint_name="${ENDPOINTS[0]!.id}"} ${BLOCKS}`,
    );
  });

  it("demote an endpoint that lies, and no other; after its lease it is believed again", async () => {
    const pool = await Pool.start();
    let prompt = 10;
    const lie = async () => {
      await pool.hold(0, ++prompt);
      await pool.request(prompt, 0);
    };
    for (let i = 0; i < TRUST_LIMITS.comparedMin - 1; i++) await lie();
    expect((await first()).knowledge).toBe("exact");
    await lie();
    const knowledge = async () =>
      (await poolStub().state()).endpoints.map((each) => each.knowledge);
    expect(await knowledge()).toEqual(["demoted", "exact"]);
    const metrics = await env.POOLS.metrics("eu-1");
    expect(metrics).toContain('fairlead_kv_demotions_total{name="eu-1",what="endpoint"} 1');
    expect(metrics).toContain('fairlead_kv_known_endpoints{name="eu-1",knowledge="demoted"} 1');
    // Its claims draw nobody: what the other one holds, if only in part, does.
    await pool.hold(0, 500);
    await pool.hold(1, 500);
    for (let i = 0; i < 4; i++) {
      const { address } = await pool.request(500, PROMPT_TOKENS);
      expect(address).toBe(ENDPOINTS[1]!.address);
    }
    await pool.later(TRUST_LIMITS.leaseMsMin);
    expect(await knowledge()).toEqual(["exact", "exact"]);
    await pool.hold(0, 600);
    const { address } = await pool.request(600, PROMPT_TOKENS);
    expect(address).toBe(ENDPOINTS[0]!.address);
    expect((await first()).cacheAccuracy).toMatchObject({ compared: 1, withinBlock: 1 });
  });

  it("demote a model's prompts that all endpoints are wrong about", async () => {
    const pool = await Pool.start();
    for (let i = 0; i < TRUST_LIMITS.comparedMin; i++) {
      await pool.hold(i % 2, 20 + i);
      await pool.request(20 + i, 0);
    }
    const { endpoints, residency } = await poolStub().state();
    expect(endpoints.map(({ knowledge }) => knowledge)).toEqual(["exact", "exact"]);
    expect(residency).toMatchObject({ demotedModels: 1 });
    const metrics = await env.POOLS.metrics("eu-1");
    expect(metrics).toContain('fairlead_kv_demoted_models{name="eu-1"} 1');
  });
});
