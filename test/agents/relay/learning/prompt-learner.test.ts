// What the relay takes to learn from, and what it keeps of it; with a thread, and an engine that answers when
// it is told to.

import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { expect, it, onTestFinished } from "vitest";
import {
  LEARNER_LIMITS,
  KNOWN_MS,
  PromptLearner,
  type PromptLearnerOptions,
} from "../../../../src/agents/relay/learning/prompt-learner.ts";
import { MetricRegistry } from "../../../../src/telemetry/metrics.ts";
import { eventually } from "../../simulator/harness.ts";
import { contentOf } from "../../support/content.ts";
import { captureLogs } from "../../support/logs.ts";

const PATH = "/v1/chat/completions";
const SECRET_WORD = "canary";

async function listening(handler: Parameters<typeof createServer>[1]): Promise<string> {
  const server = createServer(handler);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Tokenizes at blanks; while it is held, it answers nobody. */
async function startEngine() {
  const engine = { address: "", asked: 0, isHeld: false, hasTexts: true };
  const held: (() => void)[] = [];
  engine.address = await listening((request, response) => {
    if (request.url === "/v1/models") return void response.end('{"data":[]}');
    void text(request).then((body) => {
      engine.asked += 1;
      const tell = () => answer(response, body, engine.hasTexts);
      if (engine.isHeld) held.push(tell);
      else tell();
    });
  });
  const release = () => {
    engine.isHeld = false;
    for (const tell of held.splice(0)) tell();
  };
  return { engine, release };
}

function answer(response: ServerResponse, body: string, hasTexts: boolean): void {
  const { messages } = JSON.parse(body) as { messages: { content: string }[] };
  const names = messages.flatMap(({ content }) => content.split(/(?<= )/u));
  const tokens = names.map((_, i) => i);
  response.end(JSON.stringify({ tokens, ...(hasTexts ? { token_strs: names } : {}) }));
}

async function start(options: Partial<PromptLearnerOptions> = {}) {
  const told: string[] = [];
  const collector = await listening((request, response) => {
    void text(request).then((body) => {
      if (body !== "") told.push(body);
      response.end('{"epoch":"1"}');
    });
  });
  let nowMs = 0;
  const registry = new MetricRegistry();
  const logs = captureLogs("relay");
  const learner = new PromptLearner({
    collectors: [`http://${collector}`],
    token: "token",
    tokensPerKey: 16,
    promptsPerSecondMax: 1_000,
    areMediaRendered: false,
    logger: logs.logger,
    registry,
    clock: () => nowMs,
    ...options,
  });
  onTestFinished(() => learner.close());
  const count = (outcome: string) => {
    const series = `fairlead_relay_learning_prompts_total{outcome="${outcome}"} `;
    const line = registry
      .render()
      .split("\n")
      .find((each) => each.startsWith(series));
    return line === undefined ? 0 : Number(line.slice(series.length));
  };
  const counted = (outcome: string, value: number) =>
    eventually(async () => expect(count(outcome)).toBe(value));
  const pass = (ms: number) => (nowMs += ms);
  return { learner, told, registry, logs, count, counted, pass };
}

async function offerOf(endpoint: string, name: string, padding = 0) {
  const content = Array.from({ length: 90 }, (_, i) => `${SECRET_WORD}-${name}-${i}`).join(" ");
  const chat = { model: "m", messages: [{ role: "user", content }] };
  const body = Buffer.from(JSON.stringify({ ...chat, padding: "x".repeat(padding) }));
  return { endpoint, path: PATH, body, facts: (await contentOf(chat)).facts };
}

it("learns each prompt once, for a while, and keeps nothing of its text", async () => {
  const { engine } = await startEngine();
  const { learner, told, registry, logs, counted, pass } = await start();
  const offer = await offerOf(engine.address, "a");
  learner.offer(offer);
  learner.offer(offer);
  await counted("known", 1);
  await counted("learned", 1);
  learner.offer(offer);
  await counted("known", 2);
  pass(KNOWN_MS + 1);
  learner.offer(offer);
  await counted("learned", 2);
  await eventually(async () => expect(told).toHaveLength(2));
  expect(engine.asked).toBe(2);
  expect(Object.keys(JSON.parse(told[0]!) as object).toSorted()).toEqual([
    "contentKeys",
    "tokenCounts",
    "tokenKeys",
    "tokensPerKey",
    "v",
  ]);
  expect(told.join("")).not.toContain(SECRET_WORD);
  expect(registry.render() + JSON.stringify(logs.lines)).not.toContain(SECRET_WORD);
  // The body was copied: a request's own memory is not taken away from it.
  expect(offer.body.byteLength).toBeGreaterThan(1_000);
});

it("takes no more than its bounds, and more when there is room again", async () => {
  const { engine, release } = await startEngine();
  const { learner, count, counted } = await start();
  engine.isHeld = true;
  for (let i = 0; i < LEARNER_LIMITS.waitingMax; i++) {
    learner.offer(await offerOf(engine.address, `n${i}`));
  }
  expect(count("full")).toBe(0);
  learner.offer(await offerOf(engine.address, "over"));
  expect(count("full")).toBe(1);
  release();
  await counted("learned", LEARNER_LIMITS.waitingMax);
  learner.offer(await offerOf(engine.address, "over"));
  await counted("learned", LEARNER_LIMITS.waitingMax + 1);
});

it("holds no more bytes than its bound, and no long body", async () => {
  const { engine, release } = await startEngine();
  const { learner, count } = await start();
  engine.isHeld = true;
  const { bodyBytesMax, waitingBytesMax } = LEARNER_LIMITS;
  learner.offer(await offerOf(engine.address, "long", bodyBytesMax));
  expect(count("too-large")).toBe(1);
  const room = Math.floor(waitingBytesMax / (bodyBytesMax - 10_000));
  for (let i = 0; i <= room; i++) {
    learner.offer(await offerOf(engine.address, `n${i}`, bodyBytesMax - 10_000));
  }
  expect(count("full")).toBe(1);
  release();
});

it("leaves an engine alone that does not tell texts, for a while", async () => {
  const { engine } = await startEngine();
  const { learner, counted, pass } = await start();
  engine.hasTexts = false;
  learner.offer(await offerOf(engine.address, "a"));
  await counted("unsupported", 1);
  learner.offer(await offerOf(engine.address, "b"));
  await counted("unsupported", 2);
  expect(engine.asked).toBe(1);
  engine.hasTexts = true;
  pass(300_001);
  learner.offer(await offerOf(engine.address, "b"));
  await counted("learned", 1);
});

it("takes nothing of which the Worker says nothing", async () => {
  const { learner, count } = await start();
  learner.offer({ ...(await offerOf("10.0.0.1:1", "a")), facts: undefined });
  expect(count("unnamed")).toBe(1);
});

it("takes nothing while its thread is broken, and starts it again", async () => {
  const { learner, logs, count } = await start({ collectors: ["no URL"], restartMs: 50 });
  const offer = await offerOf("10.0.0.1:1", "a");
  await eventually(async () => {
    learner.offer(offer);
    expect(count("full")).toBeGreaterThan(0);
  });
  await eventually(async () => expect(logs.lines.length).toBeGreaterThan(2));
});
