// When an isolate has a tokenizer, whose, and what is said where it cannot be had.

import { env, exports } from "cloudflare:workers";
import { describe, expect, inject, it } from "vitest";
import {
  EDGE_TOKENIZER_LIMITS,
  EdgeTokenizer,
  IDLE_MS,
  type ModelSource,
  RETRY_MS,
} from "../../../src/worker/token-keys/edge-tokenizer.ts";
import type { FileBindings } from "../../../src/worker/token-keys/model-files.ts";
import { VOCABULARY_MAX } from "../../../src/worker/token-keys/model-library.ts";
import { CONFIG, TEMPLATE, TOKENIZER } from "./model.ts";

const bindings = env as unknown as FileBindings;
let files = 0;

/** Puts a file into the bucket; gives its place. */
async function put(content: string | Uint8Array): Promise<string> {
  const key = `file-${++files}`;
  await bindings.MODEL_FILES!.put(key, content);
  return `r2:${key}`;
}

const tokenizer = () => put(JSON.stringify(TOKENIZER));

function start() {
  const complaints: string[] = [];
  const time = { nowMs: 1_000_000 };
  const edge = new EdgeTokenizer({
    clock: () => time.nowMs,
    complain: (_, why) => complaints.push(why),
  });
  /** What a request finds; what it began has ended when this does. */
  const ask = async (source: ModelSource, of: FileBindings = bindings) => {
    const held: Promise<void>[] = [];
    const found = edge.model(source, of, (work) => void held.push(work));
    await Promise.all(held);
    return found.ok ? found.model : found.reason;
  };
  return { edge, ask, complaints, time };
}

it("is read once, by the first that asks, who does not wait", async () => {
  const { edge, ask } = start();
  const source = { tokenizer: await tokenizer() };
  const held: Promise<void>[] = [];
  const hold = (work: Promise<void>) => void held.push(work);
  for (let i = 0; i < 3; i++) {
    expect(edge.model(source, bindings, hold)).toEqual({ ok: false, reason: "loading" });
  }
  expect(held).toHaveLength(1);
  await held[0];
  expect(await ask(source)).toMatchObject({ chat: undefined });
});

describe("the chat template is", () => {
  it.for([
    { name: "that of the configuration", config: CONFIG },
    {
      name: "its default one of several",
      config: { chat_template: [{ name: "default", template: TEMPLATE }] },
    },
    { name: "a file of its own", config: {}, template: TEMPLATE },
  ])("$name", async ({ config, template }) => {
    const { ask } = start();
    const source = {
      tokenizer: await tokenizer(),
      tokenizerConfig: await put(JSON.stringify(config)),
      ...(template === undefined ? {} : { chatTemplate: await put(template) }),
    };
    await ask(source);
    expect(await ask(source)).toMatchObject({ chat: { takesParts: false } });
  });
});

describe("says why it is not used", () => {
  const cases: { name: string; content: () => string | Uint8Array; says: string }[] = [
    { name: "no JSON", content: () => "{", says: "tokenizer is not JSON" },
    { name: "no UTF-8", content: () => Uint8Array.of(255), says: "tokenizer is not JSON" },
    { name: "another file", content: () => "[]", says: "no tokenizer.json" },
    {
      name: "an unknown kind",
      content: () => JSON.stringify({ ...TOKENIZER, normalizer: { type: "Sorcery" } }),
      says: "of a kind that is not known",
    },
    {
      name: "too many tokens",
      content: () => {
        const vocab = Array.from({ length: VOCABULARY_MAX + 1 }, (_, i) => `"${i}":${i}`);
        return `{"model":{"vocab":{${vocab.join(",")}}}}`;
      },
      says: `at most ${VOCABULARY_MAX} fit`,
    },
    {
      name: "too many bytes",
      content: () => new Uint8Array(EDGE_TOKENIZER_LIMITS.tokenizerBytesMax + 1),
      says: `more than the ${EDGE_TOKENIZER_LIMITS.tokenizerBytesMax} bytes`,
    },
  ];
  it.for(cases)("$name", async ({ content, says }) => {
    const { ask, complaints } = start();
    const source = { tokenizer: await put(content()) };
    expect(await ask(source)).toBe("loading");
    expect(await ask(source)).toBe("no-tokenizer");
    expect(complaints).toEqual([expect.stringContaining(says)]);
  });

  it.for([
    { tokenizer: "r2:nowhere", says: "r2:nowhere is not in the bucket" },
    { tokenizer: "assets:/x.json", says: "there is no binding ASSETS" },
    {
      tokenizer: "http://127.0.0.1:1/x?signature=secret",
      says: "http://127.0.0.1:1/x could not be read",
    },
  ])("$tokenizer", async ({ says, ...source }) => {
    const { ask, complaints } = start();
    await ask(source);
    expect(await ask(source)).toBe("no-tokenizer");
    expect(complaints).toEqual([says]);
  });

  it.for([
    { tokenizer: "assets:/nowhere.json", says: "assets:/nowhere.json is answered with 404" },
    { tokenizer: "assets:/health", says: "tokenizer is no tokenizer.json" },
  ])("$tokenizer, of what is bound as assets", async ({ says, ...source }) => {
    const { ask, complaints } = start();
    await ask(source, { ASSETS: exports.default as unknown as Fetcher });
    expect(complaints).toEqual([says]);
  });

  it("without a bucket", async () => {
    const { ask, complaints } = start();
    await ask({ tokenizer: "r2:x" }, {});
    expect(complaints).toEqual(["there is no R2 binding MODEL_FILES"]);
  });

  it("a template that is none", async () => {
    const { ask, complaints } = start();
    await ask({ tokenizer: await tokenizer(), chatTemplate: await put("{% for %}") });
    expect(complaints).toEqual(["the chat template cannot be read"]);
  });
});

it("comes from the web, too, with its query kept out of what is said", async () => {
  const { ask, complaints } = start();
  const url = `${inject("relayUrl")}/files/tokenizer.json`;
  expect(await ask({ tokenizer: `${url}?token=secret` })).toBe("loading");
  expect(complaints).toEqual([`${url} is answered with 404`]);
  const put = await fetch(`${url}?there`, { method: "PUT", body: JSON.stringify(TOKENIZER) });
  await put.body?.cancel();
  const other = start();
  await other.ask({ tokenizer: `${url}?there` });
  expect(await other.ask({ tokenizer: `${url}?there` })).toHaveProperty("tokenizer");
});

it("is tried again after a while", async () => {
  const { ask, time, complaints } = start();
  const source = { tokenizer: "r2:comes-late" };
  await ask(source);
  await bindings.MODEL_FILES!.put("comes-late", JSON.stringify(TOKENIZER));
  time.nowMs += RETRY_MS - 1;
  expect(await ask(source)).toBe("no-tokenizer");
  time.nowMs += 1;
  expect(await ask(source)).toBe("loading");
  expect(await ask(source)).toHaveProperty("tokenizer");
  expect(complaints).toHaveLength(1);
});

it("is one, and gives way when nobody asks for it any more", async () => {
  const { ask, time } = start();
  const [first, second] = [{ tokenizer: await tokenizer() }, { tokenizer: await tokenizer() }];
  await ask(first);
  expect(await ask(second)).toBe("occupied");
  time.nowMs += IDLE_MS - 1;
  expect(await ask(first)).toHaveProperty("tokenizer");
  time.nowMs += IDLE_MS - 1;
  expect(await ask(second)).toBe("occupied");
  time.nowMs += 1;
  expect(await ask(second)).toBe("loading");
  expect(await ask(second)).toHaveProperty("tokenizer");
  expect(await ask(first)).toBe("occupied");
});
