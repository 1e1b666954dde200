// Engines that publish, a relay that learns, a collector that keeps account: what the collector says of content
// is what the engines hold.

import { expect, it, onTestFinished } from "vitest";
import { KvEvents } from "../../../../src/agents/collector/kv-events/kv-events.ts";
import { startLearningServer } from "../../../../src/agents/collector/learning/learning-server.ts";
import { PoolAccount } from "../../../../src/agents/collector/learning/pool-account.ts";
import { createFnvHasher } from "../../../../src/agents/simulator/model/block-hash.ts";
import { alignContent } from "../../../../src/scheduler/kv/residency/content-alignment.ts";
import { ContentResidency } from "../../../../src/scheduler/kv/residency/content-residency.ts";
import { HELD_ON_GPU } from "../../../../src/scheduler/kv/residency/holding.ts";
import { tokenBlockKeys } from "../../../../src/scheduler/kv/residency/token-keys.ts";
import { MetricRegistry } from "../../../../src/telemetry/metrics.ts";
import { RecordingSink } from "../../../scheduler/kv/residency/holding-sink.ts";
import { eventually, MODEL, post, startEngines } from "../../simulator/harness.ts";
import { contentOf, type ChatBody } from "../../support/content.ts";
import { captureLogs } from "../../support/logs.ts";
import { runRelay } from "../../support/running-relay.ts";
import { sign, signContent } from "../../support/signing.ts";

const BLOCK_SIZE = 16;
const TOKEN = "token";
const CONFIG = {
  enable_kv_cache_events: true,
  publisher: "zmq",
  endpoint: "tcp://127.0.0.1:*",
  replay_endpoint: "tcp://127.0.0.1:*",
  buffer_steps: 10_000,
  hwm: 1_000,
  max_queue_size: 1_000,
  topic: "",
} as const;

async function startCollecting(
  ids: readonly { id: string; labels: Record<string, string> }[],
  port = 0,
  token = TOKEN,
) {
  const sink = new RecordingSink();
  const account = new PoolAccount(sink);
  const registry = new MetricRegistry();
  const events = await KvEvents.start({
    mode: { type: "connect", ports: { events: 1, replay: 0, serving: 0 }, storageUrls: [] },
    consumer: account,
    registry,
    logger: captureLogs().logger,
  });
  events.follow(ids.map((each) => ({ ...each, address: "127.0.0.1:1", engine: "vllm" })));
  const server = await startLearningServer({
    listen: { host: "127.0.0.1", port },
    token,
    account,
    registry,
    clock: () => performance.now(),
  });
  const close = async () => {
    events.close();
    await server.close();
  };
  /** What an endpoint holds. */
  const held = (endpoint: string) =>
    [...sink.holdings.keys()]
      .flatMap((name) => {
        const [slot, key] = name.split("/");
        return account.sourceAt(Number(slot))?.endpoint === endpoint ? [key!] : [];
      })
      .toSorted();
  return { account, held, close, port: server.port, url: `http://127.0.0.1:${server.port}` };
}

async function startAll(blocks: number) {
  const engines = await startEngines({
    engines: 2,
    "time-scale": 0.001,
    "block-size": BLOCK_SIZE,
    "kv-cache-size": blocks,
    "max-model-len": blocks * BLOCK_SIZE - 16,
    "kv-events-config": CONFIG,
  });
  const endpoints = engines.ports.map((port, i) => ({
    id: `ns/e${i}`,
    address: `127.0.0.1:${port}`,
    labels: {
      "fairlead/kv-events-url": engines.kvEvents[i]!.endpoint,
      "fairlead/kv-replay-url": engines.kvEvents[i]!.replayEndpoint!,
    },
  }));
  const collector = await startCollecting(endpoints);
  onTestFinished(collector.close);
  return { engines, endpoints, collector };
}

async function startLearningRelay(
  addresses: readonly string[],
  collectors: readonly string[],
  areMediaRendered = false,
) {
  const learning = { collectors, tokensPerKey: 8, promptsPerSecondMax: 1_000, areMediaRendered };
  const relay = await runRelay(addresses, {}, learning);
  onTestFinished(() => relay[Symbol.asyncDispose]());
  const ask = async (address: string, body: ChatBody) => {
    const text = JSON.stringify(body);
    const signed = sign(address, text);
    const { facts } = await contentOf(body);
    const headers = { ...signed, ...signContent(facts, signed) };
    const url = `http://127.0.0.1:${relay.relay.port}/v1/chat/completions`;
    const response = await fetch(url, { method: "POST", headers, body: text });
    expect(response.status).toBe(200);
    return ((await response.json()) as { choices: { message: { content: string } }[] }).choices[0]!
      .message.content;
  };
  return { ...relay, ask };
}

/** What an engine's real cache means for the content of these prompts. */
async function truth(url: string, bodies: readonly ChatBody[]): Promise<string[]> {
  const cache = (await (await fetch(`${url}/sim/kv-cache`)).json()) as { gpu: string[] };
  const resident = new Set(cache.gpu);
  const sink = new RecordingSink();
  const contents = new ContentResidency(sink, { slotsMax: 1 });
  const hasher = createFnvHasher(MODEL, "");
  const held = new Map<string, readonly [number, number]>();
  for (const body of bodies) {
    const { canonical, keys } = await contentOf(body);
    const fields = { messages: body.messages, tools: body.tools, return_token_strs: true };
    const answer = await post(`${url}/tokenize`, fields);
    const { tokens, token_strs: names } = (await answer.json()) as {
      tokens: number[];
      token_strs: string[];
    };
    let end = 0;
    const tokenEnds = Uint32Array.from(names, (name) => (end += Buffer.byteLength(name)));
    const rendered = { text: Buffer.from(names.join("")), tokenEnds };
    const { tokenCounts } = alignContent(canonical, rendered);
    const ids = Uint32Array.from(tokens);
    const salt = body.cache_salt;
    const tokenKeys = tokenBlockKeys({
      adapter: null,
      tokens: ids,
      blockSize: BLOCK_SIZE,
      extraKeys: salt === undefined ? [] : [[{ kind: "text", text: salt }]],
    });
    const ends = tokenCounts.map((count) => Math.floor(count / BLOCK_SIZE));
    contents.learn({ contentKeys: keys, tokenKeys, ends });
    let hash = hasher.root;
    for (let i = 0; i * 2 < tokenKeys.length; i++) {
      const extras = i === 0 && salt !== undefined ? [{ text: salt }] : [];
      hash = hasher.hash(hash, ids.slice(i * BLOCK_SIZE, (i + 1) * BLOCK_SIZE), extras);
      const name = hash.toString(16).padStart(16, "0");
      if (resident.has(name)) held.set(name, [tokenKeys[i * 2]!, tokenKeys[i * 2 + 1]!]);
    }
  }
  for (const [low, high] of held.values()) contents.held(0, low, high, HELD_ON_GPU);
  return [...sink.holdings.keys()].map((name) => name.split("/")[1]!).toSorted();
}

let serial = 0;
function words(count: number): string {
  return Array.from({ length: count }, () => `w${(serial++ * 7_919) % 1_000}`).join(" ");
}

const SYSTEM = { role: "system", content: `You count. ${words(240)}` };
const TOOLS = [{ type: "function", function: { name: "count", description: words(180) } }];

/** Conversations of a few turns, two of which share all but their user's words. */
async function converse(
  relay: Awaited<ReturnType<typeof startLearningRelay>>,
  addresses: readonly string[],
): Promise<ChatBody[]> {
  const bodies: ChatBody[] = [];
  for (const [i, extra] of [{}, { tools: TOOLS }, { cache_salt: "s".repeat(64) }, {}].entries()) {
    let messages = [SYSTEM];
    for (let turn = 0; turn < 3; turn++) {
      messages = [...messages, { role: "user", content: words(130) }];
      const body = { model: MODEL, max_tokens: 40, messages, ...extra };
      bodies.push(body);
      const content = await relay.ask(addresses[i % 2]!, body);
      messages = [...messages, { role: "assistant", content }];
    }
    // What was answered last is known before a prompt repeats it.
    bodies.push({ model: MODEL, messages, ...extra });
  }
  return bodies;
}

it("content keys are held as the engines hold their tokens, before and after evictions", async () => {
  const { engines, endpoints, collector } = await startAll(256);
  const addresses = endpoints.map(({ address }) => address);
  const relay = await startLearningRelay(addresses, [collector.url]);
  const bodies = await converse(relay, addresses);
  const check = () =>
    eventually(async () => {
      for (const [i, url] of engines.urls.entries()) {
        const expected = await truth(url, bodies);
        expect(expected.length).toBeGreaterThan(4);
        expect(collector.held(`ns/e${i}`)).toEqual(expected);
      }
    });
  await check();
  const before = collector.held("ns/e0");
  // New conversations push the first ones out.
  for (let i = 0; i < 3; i++) bodies.push(...(await converse(relay, addresses)));
  await check();
  const after = new Set(collector.held("ns/e0"));
  expect(before.some((key) => !after.has(key))).toBe(true);
  expect(relay.metric('fairlead_relay_learning_prompts_total{outcome="learned"}')).toBe(48);
  expect(relay.metric('fairlead_relay_learning_answers_total{outcome="learned"}')).toBeGreaterThan(
    16,
  );
});

it("collectors that come later or begin anew are told what was learned before", async () => {
  const { engines, endpoints, collector } = await startAll(256);
  const addresses = endpoints.map(({ address }) => address);
  const second = await startCollecting(endpoints);
  const { port } = second;
  await second.close();
  const later = `http://127.0.0.1:${port}`;
  const relay = await startLearningRelay(addresses, [collector.url, later]);
  const bodies = await converse(relay, addresses);
  const expectKnown = ({ held }: typeof collector) =>
    eventually(async () => expect(held("ns/e0")).toEqual(await truth(engines.urls[0]!, bodies)));
  await expectKnown(collector);
  for (let life = 0; life < 2; life++) {
    const again = await startCollecting(endpoints, port);
    await expectKnown(again);
    await again.close();
  }
});

it("a collector with another token is told nothing, and requests are served all the same", async () => {
  const { endpoints } = await startAll(256);
  const other = await startCollecting(endpoints, 0, "another-token");
  onTestFinished(other.close);
  const addresses = endpoints.map(({ address }) => address);
  const relay = await startLearningRelay(addresses, [other.url]);
  await converse(relay, addresses);
  await eventually(async () => {
    const series = 'fairlead_relay_learning_messages_total{outcome="unauthorized"}';
    expect(relay.metric(series)).toBeGreaterThan(0);
  });
  expect(other.account.contentBlocks).toBe(0);
});

const picture = (name: string) => ({
  type: "image_url",
  image_url: { url: `data:image/png;base64,${name.repeat(3_000)}` },
});
const text = (content: string) => ({ type: "text", text: content });

it("content behind pictures is held where engines render prompts, and unknown where not", async () => {
  const { endpoints, collector } = await startAll(512);
  const addresses = endpoints.map(({ address }) => address);
  const relay = await startLearningRelay(addresses, [collector.url], true);
  const content = [text(words(90)), picture("A"), text(words(90)), picture("B"), text(words(130))];
  const body = { model: MODEL, max_tokens: 4, messages: [SYSTEM, { role: "user", content }] };
  await relay.ask(addresses[0]!, body);
  const { keys } = await contentOf(body);
  const names = Array.from(
    { length: keys.length / 2 },
    (_, i) => `${keys[2 * i]}:${keys[2 * i + 1]}`,
  );
  // The last block's end may stand within a token block that is not full.
  await eventually(async () => {
    expect(collector.held("ns/e0")).toEqual(expect.arrayContaining(names.slice(0, -1)));
  });
  expect(relay.metric("fairlead_relay_learning_media_blocks_total")).toBe(0);
  const other = await startLearningRelay(addresses, [collector.url]);
  await other.ask(addresses[1]!, body);
  await eventually(async () => {
    expect(other.metric("fairlead_relay_learning_media_blocks_total")).toBeGreaterThan(5);
  });
});
