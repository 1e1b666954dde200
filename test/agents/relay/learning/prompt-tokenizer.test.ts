// What engines are asked for, and how often.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createLogger } from "../../../../src/agents/process/logger.ts";
import { type AskedFor, EngineAsker } from "../../../../src/agents/relay/learning/engine-asker.ts";
import {
  MODELS_MAX,
  PromptTokenizer,
} from "../../../../src/agents/relay/learning/prompt-tokenizer.ts";
import { startSimulator, type Simulator } from "../../../../src/agents/simulator/server.ts";
import { answerStatus, startStubEngine } from "../../support/running-relay.ts";

const asked: AskedFor[] = [];
let simulator: Simulator;
let engines: EngineAsker;
let tokenizer: PromptTokenizer;
let origin: string;
beforeAll(async () => {
  simulator = await startSimulator({
    parameters: { model: "base" },
    logger: createLogger({ role: "simulator", level: "silent" }),
  });
  origin = `http://127.0.0.1:${simulator.ports[0]}`;
  engines = new EngineAsker(
    () => performance.now(),
    (what) => asked.push(what),
  );
});
afterAll(async () => {
  await engines.close();
  await simulator.close();
});
beforeEach(() => {
  asked.length = 0;
  tokenizer = new PromptTokenizer(engines);
});

const WORDS = "the quick brown fox jumps over a lazy dog".split(" ");
const prompt = (seed: number) =>
  Array.from({ length: 40 }, (_, i) => WORDS[(i * seed + (i >> 2)) % WORDS.length]).join(" ");
/** Nothing is found in an empty prompt. */
const asking = (model: string) => ({ model, canonical: new Uint8Array() });
const textOf = async (text: string, model = "base") => {
  const answer = await tokenizer.tokens(origin, asking(model), { prompt: text });
  if (!answer.ok) throw new Error(answer.why);
  return Buffer.from(answer.value.rendered.text).toString();
};

describe("a prompt's tokens", () => {
  it("are asked for without names once these are known, and with them where one is not", async () => {
    for (let seed = 1; seed <= 20; seed++) expect(await textOf(prompt(seed))).toBe(prompt(seed));
    expect(asked.slice(0, 8)).toEqual(Array.from({ length: 8 }, () => "names"));
    expect(asked.slice(-4)).toEqual(["ids", "ids", "ids", "ids"]);
    expect(await textOf(`${prompt(3)} somewhere else`)).toBe(`${prompt(3)} somewhere else`);
    expect(asked.slice(-2)).toEqual(["ids", "names"]);
  });

  it("are known by model, for a few models", async () => {
    for (let seed = 1; seed <= 20; seed++) await textOf(prompt(seed));
    for (let i = 0; i < MODELS_MAX; i++) {
      await textOf(prompt(1), `other-${i}`);
      expect(asked.at(-1)).toBe("names");
    }
    await textOf(prompt(1));
    expect(asked.at(-1)).toBe("names");
  });

  it("are asked for with names again once they were forgotten", async () => {
    for (let seed = 1; seed <= 20; seed++) await textOf(prompt(seed));
    tokenizer.forget("base");
    await textOf(prompt(1));
    expect(asked.at(-1)).toBe("names");
  });
});

describe("a prompt with media", () => {
  const picture = (name: string) => ({
    type: "image_url",
    image_url: { url: `https://a/${name}` },
  });
  const chat = (first: string, second: string) => {
    const parts = [{ type: "text", text: first }, picture("1.png"), { type: "text", text: second }];
    return {
      whole: { model: "base", messages: [{ role: "user", content: parts }] },
      text: { model: "base", messages: [{ role: "user", content: [parts[0], parts[2]] }] },
    };
  };

  it("is rendered; of its text the names are asked for where they are not known", async () => {
    const answer = await tokenizer.rendering(origin, asking("base"), chat(prompt(1), prompt(2)));
    if (!answer.ok) throw new Error(answer.why);
    const { ids, items, rendered } = answer.value;
    expect(asked).toEqual(["rendering", "names"]);
    expect(items).toHaveLength(1);
    const { offset, length } = items[0]!;
    expect(new Set(ids.subarray(offset, offset + length)).size).toBe(1);
    const text = Buffer.from(rendered.text).toString();
    expect(text).toContain(prompt(1).slice(0, -10));
    expect(text).toContain(prompt(2).slice(20));
    expect(rendered.tokenEnds).toHaveLength(ids.length);
    await tokenizer.rendering(origin, asking("base"), chat(prompt(2), prompt(1)));
    expect(asked).toEqual(["rendering", "names", "rendering"]);
  });

  it("is not asked for twice of an engine that renders none", async () => {
    await using engine = await startStubEngine(answerStatus(404));
    const ask = () =>
      tokenizer.rendering(`http://${engine.address}`, asking("base"), chat("a", "b"));
    expect(await ask()).toEqual({ ok: false, why: "unsupported" });
    expect(await ask()).toEqual({ ok: false, why: "unsupported" });
    expect(asked).toEqual(["rendering"]);
  });

  it.for([{ token_ids: [1, 2, -1] }, { token_ids: [0.5] }, { token_ids: "1" }, {}])(
    "is not read from %o",
    async (answer) => {
      await using engine = await startStubEngine((response) => {
        response.end(JSON.stringify(answer));
      });
      const read = await tokenizer.rendering(
        `http://${engine.address}`,
        asking("base"),
        chat("a", "b"),
      );
      expect(read).toEqual({ ok: false, why: "failed" });
    },
  );
});
