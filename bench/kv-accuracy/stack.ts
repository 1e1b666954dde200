// A running Fairlead with simulated engines whose caches are small, that publish what is in them.

import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Pool } from "undici";
import { z } from "zod";
import {
  type ExplanationDocument,
  explanationSchema,
} from "../../src/scheduler/decisions/document.ts";
import { findFreePort } from "../../src/cli/up/ports.ts";
import { readRunning } from "../../src/cli/up/state-dir.ts";
import { FAIRLEAD, start, type Started } from "../child.ts";
import { CHAT_PATH, MODEL } from "../conversation.ts";

const POOL = "bench";
const TENANT_KEY = "bench-key-of-the-tenant";
const ENGINES = 4;
/** Of 16 tokens: far less than all conversations that go on. */
const CACHE_BLOCKS = 4_096;
const SETTLE_MS_MAX = 10_000;
const POLL_MS = 5;
/** Changes gather for 20 ms before they are sent; then they are on their way. */
const FLUSH_MS = 50;

/** Speculation: a prompt that was just sent counts as cached there until its engine's events say so. */
const PRODUCERS = {
  exact: {
    type: "precise-prefix-cache-producer",
    parameters: { speculativeIndexing: true },
  },
  approximate: { type: "approx-prefix-cache-producer" },
} as const;
export type Mode = keyof typeof PRODUCERS;

export interface Answer {
  readonly requestId: string;
  readonly body: string;
  /** What the assistant said. */
  readonly content: string;
}

const answerSchema = z.object({
  choices: z.tuple([z.object({ message: z.object({ content: z.string() }) })]),
});

export class AccuracyStack {
  readonly #up: Started;
  readonly #http: Pool;
  readonly #adminKey: string;
  readonly #dir: string;
  readonly engine: string;

  private constructor(up: Started, dir: string, ready: { url: string; adminKey: string }) {
    this.#up = up;
    this.#dir = dir;
    this.#adminKey = ready.adminKey;
    this.#http = new Pool(ready.url);
    const file = join(dir, "generated", `endpoints-${POOL}.json`);
    const { endpoints } = JSON.parse(readFileSync(file, "utf8")) as {
      endpoints: { address: string; port: number }[];
    };
    this.engine = `http://${endpoints[0]!.address}:${endpoints[0]!.port}`;
  }

  static async start(mode: Mode, timeScale: number): Promise<AccuracyStack> {
    const dir = mkdtempSync(join(tmpdir(), "bench-kv-accuracy-"));
    const config = join(dir, "fairlead.yaml");
    const relay = `127.0.0.1:${await findFreePort("127.0.0.1")}`;
    writeFileSync(config, JSON.stringify(deployment(relay, mode)));
    const flags = {
      port: "0",
      "state-dir": dir,
      config,
      engines: String(ENGINES),
      "time-scale": String(timeScale),
    };
    const given = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]);
    const engineArgs = [`kv-cache-size=${CACHE_BLOCKS}`, `max-model-len=32768`];
    given.push(...engineArgs.flatMap((arg) => ["--engine-arg", arg]));
    const up = start(dir, [
      FAIRLEAD,
      "up",
      "--json",
      "--exit-with-parent",
      "--kv-events",
      ...given,
    ]);
    try {
      return new AccuracyStack(up, dir, (await up.ready) as { url: string; adminKey: string });
    } catch (error) {
      await up.stop();
      throw error;
    }
  }

  /** Asks, and reads the whole answer. Undefined where it was refused. */
  async ask(body: string): Promise<Answer | undefined> {
    const headers = { authorization: `Bearer ${TENANT_KEY}`, "content-type": "application/json" };
    const answer = await this.#http.request({ path: CHAT_PATH, method: "POST", headers, body });
    const text = await answer.body.text();
    if (answer.statusCode === 429 || answer.statusCode === 503) return undefined;
    if (answer.statusCode !== 200) throw new Error(`${answer.statusCode}: ${text}`);
    const { content } = answerSchema.parse(JSON.parse(text)).choices[0].message;
    return { requestId: String(answer.headers["x-fairlead-request-id"]), body, content };
  }

  /** What was decided of a request, once its end was reported. */
  async explain(requestId: string): Promise<ExplanationDocument> {
    const headers = { authorization: `Bearer ${this.#adminKey}` };
    const path = `/admin/v1/explain/${requestId}`;
    const deadlineMs = performance.now() + SETTLE_MS_MAX;
    for (;;) {
      const answer = await this.#http.request({ path, method: "GET", headers });
      const text = await answer.body.text();
      if (answer.statusCode !== 200) throw new Error(`${path}: ${answer.statusCode} ${text}`);
      const explanation = explanationSchema.parse(JSON.parse(text));
      if (explanation.attempts.at(-1)!.result !== null) return explanation;
      if (performance.now() > deadlineMs) throw new Error(`${requestId} has not ended`);
      await sleep(POLL_MS);
    }
  }

  /** Until what engines did and what prompts became has reached the object. */
  async settle(): Promise<void> {
    const deadlineMs = performance.now() + SETTLE_MS_MAX;
    await sleep(FLUSH_MS);
    while (
      (await this.#gauge("relay", "fairlead_relay_learning_waiting")) > 0 ||
      (await this.#gauge("collector", "fairlead_kv_stream_due_keys")) > 0
    ) {
      if (performance.now() > deadlineMs) throw new Error("events do not come to rest");
      await sleep(POLL_MS);
    }
    await sleep(FLUSH_MS);
  }

  async stop(): Promise<void> {
    await this.#http.close();
    await this.#up.stop();
  }

  /** Without labels. */
  async #gauge(role: "relay" | "collector", name: string): Promise<number> {
    const port = readRunning(join(this.#dir, "running.json"))?.adminPorts[`${role}-${POOL}`];
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    const line = text.split("\n").find((each) => each.startsWith(`${name} `));
    return Number(line?.split(" ")[1] ?? 0);
  }
}

/** llm-d's default profile, with one producer or the other. */
function deployment(relay: string, mode: Mode): unknown {
  const producer = PRODUCERS[mode];
  const plugins = [
    producer,
    { type: "prefix-cache-scorer", parameters: { prefixMatchInfoProducerName: producer.type } },
    { type: "queue-scorer" },
    { type: "max-score-picker" },
  ];
  const weights = [undefined, 2, 1, undefined];
  const refs = plugins.map(({ type }, i) => ({ pluginRef: type, weight: weights[i] })).slice(1);
  return {
    version: 1,
    pools: [
      {
        name: POOL,
        region: "local",
        models: [MODEL],
        // What is compared here is on the object's record.
        decide: "consult",
        agentToken: "bench-token-of-the-agents",
        relays: [
          { url: `http://${relay}`, keys: [{ id: "k1", secret: "bench-secret-of-the-relay" }] },
        ],
        scheduler: { plugins, schedulingProfiles: [{ name: "default", plugins: refs }] },
      },
    ],
    tenants: [{ id: "bench", keys: [TENANT_KEY] }],
  };
}
