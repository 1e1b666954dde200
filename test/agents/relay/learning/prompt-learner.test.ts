// What the relay takes to learn from, and what it keeps of it; with a thread, and an engine that answers when
// it is told to.

import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  LEARNER_LIMITS,
  PromptLearner,
  type Offer,
  type PromptLearnerOptions,
} from "../../../../src/agents/relay/learning/prompt-learner.ts";
import {
  PROMPTS_PER_ENGINE_MAX,
  PROMPTS_PER_RENDERER_MAX,
} from "../../../../src/agents/relay/learning/engine-asker.ts";
import { KNOWN_MS } from "../../../../src/agents/relay/learning/known-keys.ts";
import { MetricRegistry } from "../../../../src/telemetry/metrics.ts";
import { eventually } from "../../simulator/harness.ts";
import { contentOf } from "../../support/content.ts";
import { captureLogs } from "../../support/logs.ts";

const PATH = "/v1/chat/completions";
const SECRET_WORD = "canary";

async function listening(handler: Parameters<typeof createServer>[1]): Promise<string> {
  const server = createServer(handler);
  server.listen(0, "0.0.0.0");
  await once(server, "listening");
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Tokenizes at blanks; while it is held, it answers nobody. */
async function startEngine() {
  const engine = { origin: "", asked: 0, isHeld: false, hasTexts: true };
  const held: (() => void)[] = [];
  engine.origin = await listening((request, response) => {
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
    collectors: [collector],
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
  const count = (outcome: string, of = "prompts") => {
    const series = `fairlead_relay_learning_${of}_total{outcome="${outcome}"} `;
    const line = registry
      .render()
      .split("\n")
      .find((each) => each.startsWith(series));
    return line === undefined ? 0 : Number(line.slice(series.length));
  };
  const counted = (outcome: string, value: number, of = "prompts") =>
    eventually(async () => expect(count(outcome, of)).toBe(value));
  const pass = (ms: number) => (nowMs += ms);
  /** A request that is never answered whole. */
  const offer = (request: Offer) => learner.begin(request)?.end(UNENDED);
  return { learner, offer, told, registry, logs, count, counted, pass };
}

/** Not answered, but begun to be. */
const UNENDED = { isWhole: false, completionTokens: null };

async function offerOf(endpoint: string, name: string, padding = 0) {
  const content = Array.from({ length: 90 }, (_, i) => `${SECRET_WORD}-${name}-${i}`).join(" ");
  const chat = { model: "m", messages: [{ role: "user", content }] };
  const body = Buffer.from(JSON.stringify({ ...chat, padding: "x".repeat(padding) }));
  return { endpoint, path: PATH, body, facts: (await contentOf(chat)).facts };
}

it("learns each prompt once, for a while, and keeps nothing of its text", async () => {
  const { engine } = await startEngine();
  const { offer, told, registry, logs, counted, pass } = await start();
  const request = await offerOf(engine.origin, "a");
  offer(request);
  offer(request);
  await counted("known", 1);
  await counted("learned", 1);
  offer(request);
  await counted("known", 2);
  pass(KNOWN_MS + 1);
  offer(request);
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
  expect(request.body.byteLength).toBeGreaterThan(1_000);
});

it("takes no more than its bounds, and more when there is room again", async () => {
  const { engine, release } = await startEngine();
  const { offer, count, counted } = await start();
  engine.isHeld = true;
  // An engine has what it leaves to others.
  const share = LEARNER_LIMITS.waitingMax / 2;
  for (let i = 0; i < share; i++) offer(await offerOf(engine.origin, `n${i}`));
  expect(count("full")).toBe(0);
  offer(await offerOf(engine.origin, "over"));
  expect(count("full")).toBe(1);
  const { engine: other } = await startEngine();
  offer(await offerOf(other.origin, "elsewhere"));
  await counted("learned", 1);
  release();
  await counted("learned", share + 1);
  offer(await offerOf(engine.origin, "over"));
  await counted("learned", share + 2);
});

it("leaves an engine alone that is slow, for a while, and learns of others", async () => {
  const { engine, release } = await startEngine();
  const { engine: other } = await startEngine();
  const { offer, count, counted, pass } = await start({ askMsMax: 1_000 });
  engine.isHeld = true;
  const offered = 3 * PROMPTS_PER_ENGINE_MAX;
  for (let i = 0; i < offered; i++) offer(await offerOf(engine.origin, `n${i}`));
  await counted("failed", offered);
  // Who was waiting was not asked about.
  expect(engine.asked).toBeLessThan(offered);
  const { asked } = engine;
  offer(await offerOf(engine.origin, "more"));
  expect(count("failed")).toBe(offered + 1);
  expect(engine.asked).toBe(asked);
  // What was given up there, another engine may tell.
  offer(await offerOf(other.origin, `n${offered - 1}`));
  await counted("learned", 1);
  release();
  pass(60_001);
  offer(await offerOf(engine.origin, "more"));
  await counted("learned", 2);
});

it("holds no more bytes than its bound, and no long body", async () => {
  const { engine, release } = await startEngine();
  const { offer, count } = await start();
  engine.isHeld = true;
  const { bodyBytesMax, waitingBytesMax } = LEARNER_LIMITS;
  offer(await offerOf(engine.origin, "long", bodyBytesMax));
  expect(count("too-large")).toBe(1);
  const room = Math.floor(waitingBytesMax / 2 / (bodyBytesMax - 10_000));
  for (let i = 0; i <= room; i++) {
    offer(await offerOf(engine.origin, `n${i}`, bodyBytesMax - 10_000));
  }
  expect(count("full")).toBe(1);
  release();
});

it("leaves an engine alone that does not tell texts, for a while", async () => {
  const { engine } = await startEngine();
  const { offer, counted, pass } = await start();
  engine.hasTexts = false;
  offer(await offerOf(engine.origin, "a"));
  await counted("unsupported", 1);
  offer(await offerOf(engine.origin, "b"));
  await counted("unsupported", 2);
  expect(engine.asked).toBe(1);
  engine.hasTexts = true;
  pass(300_001);
  offer(await offerOf(engine.origin, "b"));
  await counted("learned", 1);
});

it("learns of a renderer beside the engines where one is named, and of adapters of the engine", async () => {
  const { engine } = await startEngine();
  const { engine: renderer } = await startEngine();
  const { offer, counted } = await start({ renderOrigin: renderer.origin });
  engine.hasTexts = false;
  offer(await offerOf(engine.origin, "a"));
  await counted("learned", 1);
  expect([engine.asked, renderer.asked]).toEqual([0, 1]);
  // Without the engine nobody knows whether the model is an adapter.
  offer(await offerOf("http://127.0.0.1:1", "b"));
  await counted("failed", 1);
});

describe("with one renderer for many engines", () => {
  /** The engine at another loopback address: there it is another one. */
  const alsoAt = (origin: string, i: number) => origin.replace("127.0.0.1", `127.0.1.${i + 1}`);

  it("asks for as many prompts at once as its own bound says, and learns all", async () => {
    const { engine } = await startEngine();
    const { engine: renderer, release } = await startEngine();
    const { offer, counted } = await start({ renderOrigin: renderer.origin });
    renderer.isHeld = true;
    const offered = PROMPTS_PER_RENDERER_MAX + PROMPTS_PER_ENGINE_MAX;
    for (let i = 0; i < offered; i++) {
      const at = alsoAt(engine.origin, Math.floor(i / PROMPTS_PER_ENGINE_MAX));
      offer(await offerOf(at, `n${i}`));
    }
    await eventually(async () => expect(renderer.asked).toBe(PROMPTS_PER_RENDERER_MAX));
    release();
    await counted("learned", offered);
  });

  it("leaves a renderer alone that is slow, whoever's prompts they are, and no engine longer", async () => {
    const { engine } = await startEngine();
    const { engine: renderer, release } = await startEngine();
    const options = { renderOrigin: renderer.origin, askMsMax: 1_000 };
    const { offer, count, counted, pass } = await start(options);
    renderer.isHeld = true;
    const offered = 2 * PROMPTS_PER_RENDERER_MAX;
    for (let i = 0; i < offered; i++) offer(await offerOf(alsoAt(engine.origin, i), `n${i}`));
    await counted("failed", offered);
    const { asked } = renderer;
    expect(asked).toBeLessThan(offered);
    offer(await offerOf(alsoAt(engine.origin, offered), "more"));
    expect(count("failed")).toBe(offered + 1);
    release();
    pass(60_001);
    offer(await offerOf(alsoAt(engine.origin, 0), "more"));
    await counted("learned", 1);
    expect(renderer.asked).toBe(asked + 1);
  });
});

it("takes nothing of which the Worker says nothing", async () => {
  const { offer, count } = await start();
  offer({ ...(await offerOf("10.0.0.1:1", "a")), facts: undefined });
  expect(count("unnamed")).toBe(1);
});

it("takes nothing while its thread is broken, and starts it again", async () => {
  const { offer, logs, count } = await start({ collectors: ["no URL"], restartMs: 50 });
  let i = 0;
  await eventually(async () => {
    offer(await offerOf("10.0.0.1:1", `n${i++}`));
    expect(count("full")).toBeGreaterThan(0);
  });
  const pauses = () => logs.lines.flatMap(({ restartMs }) => restartMs ?? []);
  await eventually(async () => expect(pauses().slice(0, 3)).toEqual([50, 100, 200]));
});

it("leaves a prompt alone that was with the thread when that broke", async () => {
  const { offer, counted, count, pass } = await start({ collectors: ["no URL"] });
  const request = await offerOf("10.0.0.1:1", "a");
  offer(request);
  await eventually(async () => {
    offer(request);
    expect(count("failed")).toBeGreaterThan(0);
  });
  pass(KNOWN_MS + 1);
  offer(request);
  await counted("full", 1);
});

describe("with its answer", () => {
  const ANSWERED = { isWhole: true, completionTokens: 200 };

  /** The last content block ends in it. */
  function answerOf(name: string): Buffer {
    const content = Array.from({ length: 60 }, (_, i) => `${SECRET_WORD}-${name}-${i}`).join(" ");
    const choice = { index: 0, message: { role: "assistant", content }, finish_reason: "stop" };
    return Buffer.from(JSON.stringify({ choices: [choice] }));
  }

  it("a prompt is learned by one question, where the answer ends soon", async () => {
    const { engine } = await startEngine();
    const { learner, told, counted, count, registry, logs } = await start();
    const lesson = learner.begin(await offerOf(engine.origin, "a"))!;
    lesson.keep(answerOf("said"));
    lesson.end(ANSWERED);
    await counted("learned", 1, "answers");
    expect(count("learned")).toBe(1);
    expect(engine.asked).toBe(1);
    await eventually(async () => expect(told).toHaveLength(1));
    expect(told.join("")).not.toContain(SECRET_WORD);
    expect(registry.render() + JSON.stringify(logs.lines)).not.toContain(SECRET_WORD);
  });

  it("a prompt does not wait for one that takes its time", async () => {
    const { engine } = await startEngine();
    const { learner, counted, count } = await start({ promptWaitMs: 10 });
    const lesson = learner.begin(await offerOf(engine.origin, "a"))!;
    await counted("learned", 1);
    expect(count("learned", "answers")).toBe(0);
    lesson.keep(answerOf("said"));
    lesson.end(ANSWERED);
    await counted("learned", 1, "answers");
    expect(count("learned")).toBe(1);
    expect(engine.asked).toBe(2);
  });

  it("a known prompt is learned, and the same conversation once", async () => {
    const { engine } = await startEngine();
    const { learner, offer, counted, count, pass } = await start();
    const request = await offerOf(engine.origin, "a");
    offer(request);
    await counted("learned", 1);
    for (let i = 0; i < 2; i++) {
      const lesson = learner.begin(request)!;
      lesson.keep(answerOf("said"));
      lesson.end(ANSWERED);
    }
    await counted("known", 1, "answers");
    await counted("learned", 1, "answers");
    expect(count("known")).toBe(2);
    expect(engine.asked).toBe(2);
    pass(KNOWN_MS + 1);
  });

  it("a prompt is learned alone where the answer cannot be", async () => {
    const { engine } = await startEngine();
    const { learner, count, counted } = await start();
    const lesson = learner.begin(await offerOf(engine.origin, "a"))!;
    lesson.keep(Buffer.from(`data: ${"?".repeat(300)}\n\n`));
    lesson.end(ANSWERED);
    await counted("learned", 1);
    expect(count("unreadable", "answers")).toBe(1);
  });

  it("answers leave room for prompts", async () => {
    const { engine, release } = await startEngine();
    const { learner, offer, count, counted } = await start();
    engine.isHeld = true;
    const half = (LEARNER_LIMITS.answersShare * LEARNER_LIMITS.waitingMax) / 2;
    for (let i = 0; i < half; i++) offer(await offerOf(engine.origin, `n${i}`));
    const lesson = learner.begin(await offerOf(engine.origin, "answered"))!;
    lesson.keep(answerOf("said"));
    lesson.end(ANSWERED);
    expect(count("full", "answers")).toBe(1);
    expect(count("full")).toBe(0);
    release();
    await counted("learned", half + 1);
  });
});
