// Engines that publish: what a listener makes of their events is what their caches hold.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeBatch } from "../../../../src/agents/collector/kv-events/decode-batch.ts";
import { createHasher } from "../../../../src/agents/simulator/kv-events/block-hashers.ts";
import { WIRE_FORMS, type WireForm } from "../../../../src/agents/simulator/kv-events/wire-form.ts";
import { portOf } from "../../../../src/agents/simulator/kv-events/sockets.ts";
import type { SimulatorParameters } from "../../../../src/agents/simulator/parameters.ts";
import type { KvBlocksStored, KvEvent } from "../../../../src/scheduler/kv/residency/kv-event.ts";
import { chat, eventually, MODEL, post, readBody, startEngines } from "../harness.ts";
import { replayed, subscribe, type Message } from "./zmq-client.ts";

const ANY_PORT = "tcp://127.0.0.1:*";
const CONFIG = {
  enable_kv_cache_events: true,
  publisher: "zmq",
  endpoint: ANY_PORT,
  replay_endpoint: ANY_PORT,
  buffer_steps: 10_000,
  hwm: 1_000,
  max_queue_size: 1_000,
  topic: "kv@$(POD_IP):$(POD_PORT)@$(MODEL)",
} as const;

const FAST = { "time-scale": 0.001, "block-size": 4, "kv-cache-size": 64, "max-model-len": 200 };

async function start(parameters: Partial<SimulatorParameters> = {}) {
  const engines = await startEngines({ ...FAST, "kv-events-config": CONFIG, ...parameters });
  return { ...engines, replayEndpoint: engines.kvEvents[0]?.replayEndpoint ?? "" };
}

const words = (count: number, word = "w") =>
  Array.from({ length: count }, (_, i) => `${word}${i}`).join(" ");

function decodeAll(messages: readonly Message[]): KvEvent[] {
  return messages.flatMap(({ payload }) => {
    const decoded = decodeBatch(payload);
    if (!decoded.ok) throw new Error(decoded.problem);
    expect(decoded.skipped).toEqual({ unknown: 0, unkeyable: 0, malformed: 0 });
    return decoded.events;
  });
}

function hexOf(hashes: Uint32Array): string[] {
  const digits = (word: number) => word.toString(16).padStart(8, "0");
  return Array.from({ length: hashes.length / 2 }, (_, i) => {
    return digits(hashes[i * 2 + 1]!) + digits(hashes[i * 2]!);
  });
}

/** What a listener that believes everything would hold, by tier. */
function believe(events: readonly KvEvent[]) {
  // A block may be there in several copies, each told of.
  const tiers: Record<string, Map<string, number>> = { gpu: new Map(), cpu: new Map() };
  for (const event of events) {
    if (event.type === "cleared") {
      for (const tier of Object.values(tiers)) tier.clear();
      continue;
    }
    for (const hash of hexOf(event.hashes)) {
      const tier = tiers[event.tier]!;
      const copies = (tier.get(hash) ?? 0) + (event.type === "stored" ? 1 : -1);
      expect(copies).toBeGreaterThanOrEqual(0);
      if (copies === 0) tier.delete(hash);
      else tier.set(hash, copies);
    }
  }
  const held = (tier: string) => [...tiers[tier]!.keys()].toSorted();
  return { gpu: held("gpu"), cpu: held("cpu") };
}

/** What the engine holds, by the last 64 bits of each hash. */
async function residency(url: string) {
  const tiers = (await (await fetch(`${url}/sim/kv-cache`)).json()) as Record<string, string[]>;
  const low = (name: string) => tiers[name]!.map((hash) => hash.slice(-16)).toSorted();
  return { gpu: low("gpu"), window: low("window"), cpu: low("cpu"), storage: low("storage") };
}

const stores = (events: readonly KvEvent[]) =>
  events.filter((event): event is KvBlocksStored => event.type === "stored");

const command = (url: string, body: object) => post(`${url}/sim/kv-events`, body);

describe("an engine's events", () => {
  it("tell of the tokens the prompt was turned into, in blocks, with their hashes", async () => {
    const { url, replayEndpoint } = await start();
    const answer = chat(url, words(20), { return_token_ids: true, max_tokens: 5 });
    const { prompt_token_ids: prompt, choices } = await readBody(answer);
    const tokens = [...prompt!, ...choices[0]!.token_ids!].slice(0, -1);
    const told = stores(decodeAll(await replayed(replayEndpoint, 0)));
    const full = Math.floor(tokens.length / 4) * 4;
    expect(told.flatMap((event) => [...event.tokens])).toEqual(tokens.slice(0, full));
    const { root, hash } = createHasher("cbor-fnv", MODEL, "");
    let parent = root;
    const expected = Array.from({ length: full / 4 }, (_, i) => {
      parent = hash(parent, Uint32Array.from(tokens.slice(i * 4, i * 4 + 4)), []);
      return parent.toString(16).padStart(16, "0");
    });
    expect(told.flatMap((event) => hexOf(event.hashes))).toEqual(expected);
    // Each event hangs on the block before it.
    const parents = told.map((event) => (event.parent === null ? null : hexOf(event.parent)[0]));
    const lasts = told.map((event) => hexOf(event.hashes).at(-1));
    expect(parents).toEqual([null, ...lasts.slice(0, -1)]);
  });

  it("arrive live as they do in a replay, under the engine's topic", async () => {
    const { url, ports, kvEvents, replayEndpoint } = await start();
    const { messages } = await subscribe(kvEvents[0]!.endpoint);
    let n = 0;
    await eventually(async () => {
      await chat(url, words(9, `x${n++}`));
      expect(messages.length).toBeGreaterThan(0);
    });
    await chat(url, words(9, "last"));
    const history = await replayed(replayEndpoint, messages[0]!.sequence);
    await eventually(async () => expect(await Promise.resolve(messages)).toEqual(history));
    expect(messages[0]!.topic).toBe(`kv@127.0.0.1:${ports[0]}@${MODEL}`);
    expect(kvEvents[0]!.topic).toBe(messages[0]!.topic);
  });

  it("of layers that see a window only add up to what is in their cache, as another group", async () => {
    const { url, replayEndpoint } = await start({
      "sliding-window": 20,
      "sliding-window-blocks": 80,
      "max-num-seqs": 2,
      "max-num-batched-tokens": 200,
    });
    for (const word of ["a", "b", "a", "c", "d"]) await chat(url, words(60, word));
    const events = decodeAll(await replayed(replayEndpoint, 0));
    const groupOf = (event: KvEvent) => {
      if (event.type === "cleared") return 0;
      return event.type === "stored" ? event.group?.index : event.groupIndex;
    };
    const ofGroup = (index: number) => events.filter((event) => groupOf(event) === index);
    const { gpu, window } = await residency(url);
    expect(believe(ofGroup(0)).gpu).toEqual(gpu);
    expect(believe(ofGroup(1)).gpu).toEqual(window);
    expect(window).not.toEqual(gpu);
    expect(stores(ofGroup(1))[0]!.group).toEqual({
      index: 1,
      kind: "sliding_window",
      slidingWindow: 20,
    });
    await post(`${url}/reset_prefix_cache`, {});
    expect(await residency(url)).toMatchObject({ gpu: [], window: [] });
  });

  it.for(Object.keys(WIRE_FORMS) as (keyof typeof WIRE_FORMS)[])(
    "in the form %s add up to what is in the cache",
    async (name) => {
      const form: WireForm = { ...WIRE_FORMS[name], replay: "topic" };
      const { url, replayEndpoint } = await start({ "kv-events-form": form });
      for (const word of ["a", "b", "a", "c", "d"]) await chat(url, words(60, word));
      const messages = await replayed(replayEndpoint, 0);
      expect(messages[0]!.sequence).toBe(form.firstSequence);
      const { gpu } = await residency(url);
      expect(believe(decodeAll(messages)).gpu).toEqual(gpu);
      expect(gpu.length).toBeGreaterThan(50);
    },
  );

  it("name an adapter, a salt and a picture, as far as they reach", async () => {
    const { url, replayEndpoint } = await start({ "lora-modules": ["my-lora"] });
    const content = [
      { type: "text", text: words(6) },
      { type: "image_url", image_url: { url: "cat.png" } },
    ];
    const body = { model: "my-lora", cache_salt: "s", messages: [{ role: "user", content }] };
    const answer = await readBody(post(`${url}/v1/chat/completions`, { ...body, max_tokens: 1 }));
    expect(answer).toMatchObject({ model: "my-lora" });
    const [event] = stores(decodeAll(await replayed(replayEndpoint, 0)));
    expect(event!.loraName).toBe("my-lora");
    // Five tokens of "### user: ", six words, then 64 placeholders: blocks 2 to 18.
    const offset = 5 + 6;
    const keys = event!.extraKeys!;
    expect(keys[0]).toEqual([{ kind: "text", text: "s" }]);
    expect(keys[1]).toEqual([]);
    const picture = (block: number) => ({
      kind: "media",
      identifier: expect.stringMatching(/^sim_image_/) as string,
      offset: offset - block * 4,
    });
    expect(keys[2]).toEqual([picture(2)]);
    expect(keys[3]).toEqual([picture(3)]);
  });

  it("tell of a block again that was computed again, and of each copy that goes", async () => {
    const { url, replayEndpoint } = await start();
    // Five tokens of "### user: ", two words, and five of "### assistant: ": the last token's block is always computed.
    for (let i = 0; i < 3; i++) await chat(url, words(2), { max_tokens: 1 });
    const copiesOf = async (type: KvEvent["type"], hash: string) => {
      const events = decodeAll(await replayed(replayEndpoint, 0));
      const of = events.filter((event) => event.type === type && event.type !== "cleared");
      const hashes = of.flatMap((event) => ("hashes" in event ? hexOf(event.hashes) : []));
      return hashes.filter((other) => other === hash).length;
    };
    const told = stores(decodeAll(await replayed(replayEndpoint, 0)));
    const last = hexOf(told[0]!.hashes)[2]!;
    expect(await copiesOf("stored", last)).toBe(3);
    expect((await residency(url)).gpu).toHaveLength(3);
    for (const word of ["a", "b"]) await chat(url, words(90, word));
    expect((await residency(url)).gpu).not.toContain(last);
    expect(await copiesOf("removed", last)).toBe(3);
  });

  it("are not told without the flag, and the cache works the same", async () => {
    const { url, kvEvents } = await start({ "kv-events-config": null, "kv-offloading-blocks": 8 });
    expect(kvEvents).toEqual([]);
    expect(await (await fetch(`${url}/sim/kv-events`)).json()).toEqual({ isPublished: false });
    for (const word of ["a", "b", "c"]) await chat(url, words(90, word));
    expect((await residency(url)).cpu).toHaveLength(8);
  });
});

describe("tiers", () => {
  const offloading = { "kv-cache-size": 50, "kv-offloading-blocks": 70 };

  it.for(["evicted", "stored"] as const)("blocks go to the CPU when %s", async (when) => {
    const { url, replayEndpoint } = await start({ ...offloading, "kv-offloading-when": when });
    for (const word of ["a", "b", "c", "a", "d"]) await chat(url, words(60, word));
    const events = decodeAll(await replayed(replayEndpoint, 0));
    const { gpu, cpu } = await residency(url);
    expect(believe(events)).toEqual({ gpu, cpu });
    expect(cpu).toHaveLength(70);
    // The CPU's events are bare, so each names a block that was told of on the GPU and is still there.
    const onCpu = stores(events).filter(({ tier }) => tier === "cpu");
    expect(onCpu.every(({ tokens, blockSize }) => tokens.length === 0 && blockSize === 0)).toBe(
      true,
    );
    for (const event of onCpu) {
      const before = events.slice(0, events.indexOf(event));
      expect(believe(before).gpu).toEqual(expect.arrayContaining(hexOf(event.hashes)));
    }
  });

  it("finds on the CPU what the GPU has evicted", async () => {
    const { url } = await start(offloading);
    const cached = async (word: string) => {
      const { usage } = await readBody(chat(url, words(40, word), { max_tokens: 1 }));
      return usage.prompt_tokens_details.cached_tokens;
    };
    expect(await cached("a")).toBe(0);
    for (const word of ["b", "c"]) await chat(url, words(90, word));
    expect(await cached("a")).toBe(48);
    await chat(url, words(190, "d"));
    expect((await residency(url)).cpu.length).toBeLessThanOrEqual(70);
  });

  it("describes blocks on the CPU where it is told to", async () => {
    const form = { ...WIRE_FORMS.vllm, offload: "described" } as const;
    const { url, replayEndpoint } = await start({ ...offloading, "kv-events-form": form });
    for (const word of ["a", "b"]) await chat(url, words(100, word));
    const told = stores(decodeAll(await replayed(replayEndpoint, 0)));
    const onGpu = new Map<string, readonly number[]>();
    for (const { tier, hashes, tokens } of told) {
      if (tier !== "gpu") continue;
      hexOf(hashes).forEach((hash, i) =>
        onGpu.set(hash, Array.from(tokens.subarray(i * 4, i * 4 + 4))),
      );
    }
    const onCpu = told.filter(({ tier }) => tier === "cpu");
    expect(onCpu.length).toBeGreaterThan(10);
    for (const { hashes, tokens } of onCpu) {
      expect([...tokens]).toEqual(onGpu.get(hexOf(hashes)[0]!));
    }
  });

  it("shares a store between engines, which publishes for itself", async () => {
    const { urls, storageEndpoint } = await start({
      engines: 2,
      "kv-storage-blocks": 40,
      "kv-storage-endpoint": ANY_PORT,
    });
    const { messages } = await subscribe(storageEndpoint);
    let n = 0;
    await eventually(async () => {
      await chat(urls[0]!, words(9, `x${n++}`));
      expect(messages.length).toBeGreaterThan(0);
    });
    // Larger than the store: from here on everything in it was told of.
    await chat(urls[0]!, words(180, "y"), { max_tokens: 1 });
    await chat(urls[1]!, words(100, "z"), { max_tokens: 1 });
    const { storage } = await residency(urls[0]!);
    expect(storage).toHaveLength(40);
    await eventually(async () => {
      const held = new Set<string>();
      for (const event of decodeAll(messages)) {
        if (event.type === "cleared" || event.tier !== "storage") throw new Error("a stranger");
        for (const hash of hexOf(event.hashes)) {
          if (event.type === "stored") held.add(hash);
          else held.delete(hash);
        }
      }
      expect(await Promise.resolve([...held].toSorted())).toEqual(storage);
    });
    expect(messages[0]!.topic).toBe(`kv@SHARED_STORAGE@${MODEL}`);
    await chat(urls[0]!, words(30, "q"), { max_tokens: 1 });
    const answer = await readBody(chat(urls[1]!, words(30, "q"), { max_tokens: 1 }));
    expect(answer.usage.prompt_tokens_details.cached_tokens).toBeGreaterThan(0);
  });
});

describe("engines and ranks", () => {
  it("publish each for itself, ranks with their number", async () => {
    const engines = await start({
      engines: 2,
      "data-parallel-size": 2,
      "data-parallel-start-rank": 4,
    });
    expect(new Set(engines.ports).size).toBe(4);
    expect(new Set(engines.kvEvents.map(({ endpoint }) => endpoint)).size).toBe(4);
    for (const [i, url] of engines.urls.entries()) {
      await chat(url, words(9));
      const messages = await replayed(engines.kvEvents[i]!.replayEndpoint!, 0);
      const decoded = decodeBatch(messages[0]!.payload);
      expect(decoded).toMatchObject({ ok: true, rank: 4 + (i % 2) });
    }
  });

  it("dial a subscriber that is bound, all the same one", async () => {
    const { messages, endpoint } = await subscribe();
    const { urls } = await start({ engines: 2, "kv-events-config": { ...CONFIG, endpoint } });
    let n = 0;
    await eventually(async () => {
      for (const url of urls) await chat(url, words(9, `x${n++}`));
      expect(new Set(messages.map(({ topic }) => topic)).size).toBe(2);
    });
  });

  it("publish where they did before, when they are told so", async () => {
    const restarted = async () => {
      const before = await start({ engines: 2 });
      const ports = before.kvEvents.map(({ endpoint }) => portOf(endpoint)!);
      const replayPorts = before.kvEvents.map(({ replayEndpoint }) => portOf(replayEndpoint)!);
      await before.close();
      const flags = { "kv-events-ports": ports, "kv-replay-ports": replayPorts };
      return { ports, replayPorts, after: await start({ engines: 2, ...flags }) };
    };
    // Between the two somebody else may take a port.
    const { ports, replayPorts, after } = await restarted().catch(restarted);
    expect(after.kvEvents.map(({ endpoint }) => portOf(endpoint))).toEqual(ports);
    await chat(after.urls[1]!, words(9));
    expect(await replayed(`tcp://127.0.0.1:${replayPorts[1]}`, 0)).not.toEqual([]);
    await expect(start({ engines: 2, "kv-events-ports": [ports[0]!] })).rejects.toThrow(
      "--kv-events-ports names 1 ports for 2 engines.",
    );
  });

  it("start all or none: a port that is taken leaves nothing behind", async () => {
    const { kvEvents } = await start();
    const taken = { ...CONFIG, replay_endpoint: kvEvents[0]!.endpoint };
    await expect(start({ "kv-events-config": taken })).rejects.toThrow(/in use/);
  });
});

describe("what goes wrong on purpose", () => {
  it("clears the cache and says so, unless it is in use", async () => {
    const { url, replayEndpoint } = await start({ "kv-offloading-blocks": 20, "time-scale": 1 });
    await chat(url, words(60), { max_tokens: 1 });
    const stream = await chat(url, words(90, "long"), { stream: true });
    const reset = async () => (await post(`${url}/reset_prefix_cache`, {})).status;
    expect(await reset()).toBe(409);
    await stream.body!.cancel();
    await eventually(async () => expect(await reset()).toBe(200));
    const events = decodeAll(await replayed(replayEndpoint, 0));
    expect(events.at(-1)).toEqual({ type: "cleared" });
    expect(await residency(url)).toMatchObject({ gpu: [], cpu: [] });
    expect(believe(events)).toEqual({ gpu: [], cpu: [] });
    const again = await readBody(chat(url, words(60), { max_tokens: 1 }));
    expect(again.usage.prompt_tokens_details.cached_tokens).toBe(0);
  });

  it("restarts without a word: requests break, the cache is empty, numbers begin anew", async () => {
    const { url, replayEndpoint } = await start({ "time-scale": 1, "kv-offloading-blocks": 20 });
    await chat(url, words(60), { max_tokens: 1 });
    const stream = await chat(url, words(90, "long"), { stream: true });
    const restarted = await command(url, { action: "restart" });
    expect(await restarted.json()).toMatchObject({ nextSequence: 0, restarts: 1, keptCount: 0 });
    await expect(stream.text()).rejects.toThrow(/terminated/);
    expect(await residency(url)).toMatchObject({ gpu: [], cpu: [] });
    await chat(url, words(40, "new"), { max_tokens: 1 });
    const messages = await replayed(replayEndpoint, 0);
    expect(messages[0]!.sequence).toBe(0);
    const { gpu } = await residency(url);
    expect(believe(decodeAll(messages)).gpu).toEqual(gpu);
  });

  it("loses batches by command, and refuses commands that make no sense", async () => {
    const { url } = await start();
    expect((await command(url, { action: "lose", batches: 1 })).status).toBe(200);
    await chat(url, words(9));
    const state = await (await fetch(`${url}/sim/kv-events`)).json();
    expect(state).toMatchObject({ isPublished: true, lost: 1, rank: 0 });
    for (const body of [
      { action: "explode" },
      { action: "lose" },
      { action: "lose", batches: 0 },
    ]) {
      expect((await command(url, body)).status).toBe(400);
    }
  });
});

it("whatever is asked, in whatever order, events add up to what the engine holds", async () => {
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.record({ words: fc.integer({ min: 1, max: 150 }), of: fc.nat(3) }) },
    { weight: 1, arbitrary: fc.constant("clear" as const) },
    { weight: 1, arbitrary: fc.constant("restart" as const) },
  );
  const history = fc.array(fc.array(step, { maxLength: 4 }), { maxLength: 5 });
  const { url, replayEndpoint } = await start({
    "kv-offloading-blocks": 30,
    "max-num-seqs": 4,
    "max-num-batched-tokens": 32,
  });
  await fc.assert(
    fc.asyncProperty(history, async (rounds) => {
      await command(url, { action: "restart" });
      for (const round of rounds) {
        await Promise.all(
          round.map(async (one) => {
            const asked =
              one === "clear"
                ? post(`${url}/reset_prefix_cache`, {})
                : one === "restart"
                  ? command(url, { action: "restart" })
                  : chat(url, words(one.words, `p${one.of}`));
            // A restart breaks what else is under way.
            await asked.catch(() => undefined);
          }),
        );
      }
      const { gpu, cpu } = await residency(url);
      expect(believe(decodeAll(await replayed(replayEndpoint, 0)))).toEqual({ gpu, cpu });
    }),
    { numRuns: 25 },
  );
}, 30_000);

describe("rendering", () => {
  const tools = [{ type: "function", function: { name: "tide" } }];

  it("gives the tokens that generating would have used", async () => {
    const { url } = await start();
    const messages = [
      {
        role: "user",
        content: [
          { type: "text", text: "Hi" },
          { type: "image_url", image_url: { url: "a" } },
        ],
      },
    ];
    const body = { model: MODEL, messages, tools, max_tokens: 1, return_token_ids: true };
    const rendered = (await (await post(`${url}/v1/chat/completions/render`, body)).json()) as {
      token_ids: number[];
      features: object;
    };
    const { prompt_token_ids: prompt } = await readBody(post(`${url}/v1/chat/completions`, body));
    expect(rendered.token_ids).toEqual(prompt);
    const { features } = rendered;
    const image = [expect.stringMatching(/^sim_image_/)];
    expect(features).toMatchObject({
      mm_hashes: { image },
      kwargs_data: { image: [expect.any(String)] },
    });
    expect(features).toMatchObject({ mm_placeholders: { image: [{ length: 64 }] } });
    const lean = post(`${url}/v1/chat/completions/render`, { ...body, return_mm_kwargs: false });
    expect(await (await lean).text()).not.toContain("kwargs_data");
    const { tokens } = (await (
      await post(`${url}/tokenize`, { messages, tools, return_token_strs: true })
    ).json()) as { tokens: number[] };
    expect(tokens).toEqual(prompt);
    const bare = await readBody(post(`${url}/tokenize`, { messages }));
    expect(bare.count).toBeLessThan(tokens.length);
  });

  it("gives a list for completions, one for each prompt", async () => {
    const { url } = await start();
    const body = { model: MODEL, prompt: ["Hello world", "Hi"] };
    const answer = await post(`${url}/v1/completions/render`, body);
    expect(await answer.json()).toEqual([
      { token_ids: [2_871_118_705, 933_488_787] },
      { token_ids: [expect.any(Number)] },
    ]);
  });

  it("is refused for a model that is not there, and as a whole where it is off", async () => {
    const { url } = await start();
    const render = `${url}/v1/chat/completions/render`;
    const body = { model: "other", messages: [{ role: "user", content: "Hi" }] };
    expect((await post(render, body)).status).toBe(404);
    expect((await post(render, { model: MODEL, messages: [] })).status).toBe(400);
    const off = await start({ render: "off" });
    expect((await post(`${off.url}/v1/chat/completions/render`, body)).status).toBe(404);
  });
});
