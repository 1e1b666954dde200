import { array, assert, constantFrom, integer, oneof, property, record } from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { ContentResidency } from "../../../../src/scheduler/kv/residency/content-residency.ts";
import {
  CONTENTS_PER_TOKEN_BLOCK_MAX,
  SPAN_BLOCKS_MAX,
} from "../../../../src/scheduler/kv/residency/token-chains.ts";
import {
  HELD_BELOW,
  HELD_ON_GPU,
  type Holding,
  NOT_HELD,
} from "../../../../src/scheduler/kv/residency/holding.ts";
import { ALTERNATIVES_MAX } from "../../../../src/scheduler/kv/residency/learned-contents.ts";
import { keyHigh, keyLow } from "../../../../src/scheduler/kv/residency/token-keys.ts";
import { createRng } from "../../../../src/scheduler/support/rng.ts";
import { RecordingSink } from "./holding-sink.ts";
import { type NaivePrompt, NaiveResidency } from "./naive-residency.ts";

const SLOTS = 3;

/** Two words for a name: any that spread do. */
function wordsOf(name: string): [number, number] {
  let hash = 7;
  for (const char of name) hash = (Math.imul(hash, 31) + char.codePointAt(0)!) | 0;
  return [keyLow(hash), keyHigh(hash, name.length)];
}

const keysOf = (names: readonly string[]) => Uint32Array.from(names.flatMap(wordsOf));

function learn(residency: ContentResidency, { contents, tokens, ends }: NaivePrompt): void {
  residency.learn({
    contentKeys: keysOf(contents),
    tokenKeys: keysOf(tokens),
    ends: Uint32Array.from(ends),
  });
}

function hold(residency: ContentResidency, slot: number, token: string, holding: Holding): void {
  const [low, high] = wordsOf(token);
  residency.held(slot, low, high, holding);
}

/** Names of a path's blocks: each stands for all before it as well. */
const path = (kind: string, steps: readonly (number | string)[]) =>
  steps.map((_, i) => `${kind}:${steps.slice(0, i + 1).join(".")}`);

/** Holdings as the sink keeps them, back to names. */
function named(sink: RecordingSink, contents: Iterable<string>): Map<string, Holding> {
  const names = new Map([...contents].map((content) => [wordsOf(content).join(":"), content]));
  return new Map(
    [...sink.holdings].map(([key, holding]) => {
      const [slot, words] = key.split("/");
      return [`${slot}/${names.get(words!)}`, holding];
    }),
  );
}

const sorted = (holdings: Map<string, Holding>) =>
  [...holdings].sort(([a], [b]) => (a < b ? -1 : 1));

describe("ContentResidency", () => {
  let sink: RecordingSink;
  let residency: ContentResidency;
  beforeEach(() => {
    sink = new RecordingSink();
    residency = new ContentResidency(sink, { slotsMax: SLOTS });
  });
  const PROMPT: NaivePrompt = {
    contents: path("c", ["a", "b", "c"]),
    tokens: path("t", [1, 2, 3, 4, 5, 6, 7]),
    ends: [3, 6, 6],
  };
  const now = () => Object.fromEntries(sorted(named(sink, PROMPT.contents)));

  it("holds a content block when all its token blocks are held, whatever comes first", () => {
    for (const token of PROMPT.tokens.slice(0, 3)) hold(residency, 0, token, HELD_ON_GPU);
    expect(residency.counts.unknownStores).toBe(3);
    learn(residency, PROMPT);
    expect(now()).toEqual({ "0/c:a": HELD_ON_GPU });
    for (const token of PROMPT.tokens.slice(3, 6)) hold(residency, 0, token, HELD_ON_GPU);
    expect(now()).toEqual({
      "0/c:a": HELD_ON_GPU,
      "0/c:a.b": HELD_ON_GPU,
      "0/c:a.b.c": HELD_ON_GPU,
    });
    hold(residency, 0, PROMPT.tokens[5]!, NOT_HELD);
    expect(now()).toEqual({ "0/c:a": HELD_ON_GPU });
  });

  it("holds content no better than the worst of its token blocks", () => {
    learn(residency, PROMPT);
    for (const token of PROMPT.tokens.slice(0, 3)) hold(residency, 1, token, HELD_ON_GPU);
    hold(residency, 1, PROMPT.tokens[1]!, HELD_BELOW);
    expect(now()).toEqual({ "1/c:a": HELD_BELOW });
    hold(residency, 1, PROMPT.tokens[1]!, HELD_ON_GPU);
    expect(now()).toEqual({ "1/c:a": HELD_ON_GPU });
  });

  it("takes the smaller end where prompts agree on the tokens, the newest where they do not", () => {
    learn(residency, PROMPT);
    for (const token of PROMPT.tokens.slice(0, 2)) hold(residency, 0, token, HELD_ON_GPU);
    learn(residency, { ...PROMPT, ends: [2, 6, 6] });
    expect(now()).toEqual({ "0/c:a": HELD_ON_GPU });
    learn(residency, { ...PROMPT, ends: [3, 6, 6] });
    expect(now()).toEqual({ "0/c:a": HELD_ON_GPU });
    learn(residency, { ...PROMPT, tokens: path("t", [9, 8, 7]), ends: [3, 3, 3] });
    expect(now()).toEqual({});
    expect(residency.counts.relearned).toBeGreaterThan(0);
  });

  it("holds what settles no token block with the first block of any prompt that it begins", () => {
    for (const first of ["x", "y"]) {
      learn(residency, {
        contents: ["c:a", `c:a.${first}`],
        tokens: path("t", [first]),
        ends: [0, 1],
      });
    }
    hold(residency, 0, "t:x", HELD_ON_GPU);
    hold(residency, 1, "t:y", HELD_ON_GPU);
    expect(now()["0/c:a"]).toBe(HELD_ON_GPU);
    expect(now()["1/c:a"]).toBe(HELD_ON_GPU);
    hold(residency, 0, "t:x", NOT_HELD);
    expect(now()["0/c:a"]).toBeUndefined();
  });

  it("bounds alternatives: those that nobody holds go first", () => {
    const learnFirst = (i: number) =>
      learn(residency, { contents: ["c:a"], tokens: [`t:${i}`], ends: [0] });
    hold(residency, 2, "t:0", HELD_ON_GPU);
    for (let i = 0; i < ALTERNATIVES_MAX; i++) learnFirst(i);
    expect(residency.tokenBlocks).toBe(ALTERNATIVES_MAX);
    learnFirst(ALTERNATIVES_MAX);
    expect(residency.tokenBlocks).toBe(2);
    expect(now()["2/c:a"]).toBe(HELD_ON_GPU);
  });

  it("bounds a span: its last token blocks speak for all", () => {
    const tokens = path("t", [0]).concat(
      Array.from({ length: SPAN_BLOCKS_MAX }, (_, i) => `t:0.${i}`),
    );
    learn(residency, { contents: ["c:a"], tokens, ends: [tokens.length] });
    for (const token of tokens.slice(1)) hold(residency, 0, token, HELD_ON_GPU);
    expect(now()).toEqual({ "0/c:a": HELD_ON_GPU });
    hold(residency, 0, tokens[1]!, NOT_HELD);
    expect(now()).toEqual({});
  });

  it("bounds how much content ends with one token block: the oldest goes for the newest", () => {
    const learnOne = (i: number) =>
      learn(residency, { contents: [`c:${i}`], tokens: ["t:1"], ends: [1] });
    for (let i = 0; i < CONTENTS_PER_TOKEN_BLOCK_MAX; i++) learnOne(i);
    hold(residency, 0, "t:1", HELD_ON_GPU);
    expect(sink.holdings.size).toBe(CONTENTS_PER_TOKEN_BLOCK_MAX);
    learnOne(0);
    for (let i = 0; i < 3; i++) learnOne(CONTENTS_PER_TOKEN_BLOCK_MAX + i);
    expect(residency.contentBlocks).toBe(CONTENTS_PER_TOKEN_BLOCK_MAX);
    expect(residency.counts.forgottenContents).toBe(3);
    const known = ["c:0", "c:2", "c:3", `c:${CONTENTS_PER_TOKEN_BLOCK_MAX + 2}`];
    const isHeld = (name: string) => named(sink, [name]).get(`0/${name}`) === HELD_ON_GPU;
    expect(known.map(isHeld)).toEqual([false, false, true, true]);
    hold(residency, 0, "t:1", NOT_HELD);
    expect(sink.holdings.size).toBe(0);
  });

  it("bounds how much content one token block begins", () => {
    for (let i = 0; i <= CONTENTS_PER_TOKEN_BLOCK_MAX; i++) {
      learn(residency, { contents: [`c:${i}`], tokens: ["t:1"], ends: [0] });
    }
    expect(residency.contentBlocks).toBe(CONTENTS_PER_TOKEN_BLOCK_MAX);
    expect(residency.counts.forgottenContents).toBe(1);
    hold(residency, 0, "t:1", HELD_ON_GPU);
    expect(sink.holdings.size).toBe(CONTENTS_PER_TOKEN_BLOCK_MAX);
  });

  /** Conversations whose first blocks are shared: content b is where that ends. */
  const conversation = (name: number): NaivePrompt => ({
    contents: path("c", ["a", `b${name}`, "c"]),
    tokens: path("t", [1, 2, 3, 4, `u${name}`, "v", "w"]),
    ends: [2, 5, 7],
  });

  it("knows the newest of any number of conversations that share a system prompt", () => {
    const count = CONTENTS_PER_TOKEN_BLOCK_MAX * 5;
    for (let i = 0; i < count; i++) learn(residency, conversation(i));
    expect(residency.contentBlocks).toBe(1 + 2 * count);
    expect(residency.counts.leftOut + residency.counts.forgottenContents).toBe(0);
    for (const name of [0, count - 1]) {
      const { contents, tokens } = conversation(name);
      for (const token of tokens) hold(residency, 1, token, HELD_ON_GPU);
      expect([...named(sink, contents).keys()]).toEqual(
        expect.arrayContaining(contents.map((content) => `1/${content}`)),
      );
    }
  });

  it("learns what follows content that it had to leave out", () => {
    learn(residency, PROMPT);
    // Another block before t:1.2.3.4.5 than there was: no such prompt can be.
    const tokens = PROMPT.tokens.with(3, "t:x");
    learn(residency, { contents: path("d", ["a", "b", "c"]), tokens, ends: [2, 5, 6] });
    expect(residency.counts.leftOut).toBe(1);
    expect(residency.endOf(...wordsOf("d:a.b"))).toBeUndefined();
    expect(residency.endOf(...wordsOf("d:a.b.c"))).toBe(6);
  });

  it("forgets older content when token blocks run out", () => {
    residency = new ContentResidency(sink, { slotsMax: SLOTS, bytesMax: 1024 * 1024 });
    for (let i = 0; i < 35; i++) {
      const tokens = Array.from({ length: SPAN_BLOCKS_MAX }, (_, k) => `t:${i}.${k}`);
      learn(residency, { contents: [`c:${i}`], tokens, ends: [tokens.length] });
      for (const token of tokens) hold(residency, 0, token, HELD_ON_GPU);
      const [low, high] = wordsOf(`c:${i}`);
      expect(sink.holdings.get(`0/${low}:${high}`)).toBe(HELD_ON_GPU);
      for (const token of tokens.toReversed()) hold(residency, 0, token, NOT_HELD);
    }
    expect(residency.counts.forgottenContents).toBeGreaterThan(10);
    expect(sink.holdings.size).toBe(0);
  });

  it("ignores a slot that it has no room for", () => {
    learn(residency, PROMPT);
    for (const token of PROMPT.tokens) hold(residency, SLOTS, token, HELD_ON_GPU);
    expect(sink.holdings.size).toBe(0);
    expect(residency.counts.leftOut).toBe(PROMPT.tokens.length);
  });

  const steps = array(integer({ min: 0, max: 1 }), { minLength: 1, maxLength: 6 });
  const prompt = record({
    content: steps,
    token: steps,
    ends: array(integer({ min: 0, max: 6 }), { minLength: 6, maxLength: 6 }),
  });

  it("holds what a naive account of the same events holds", () => {
    const event = oneof(
      { weight: 1, arbitrary: record({ learned: prompt }) },
      {
        weight: 4,
        arbitrary: record({
          slot: integer({ min: 0, max: SLOTS - 1 }),
          token: steps,
          holding: constantFrom<Holding>(NOT_HELD, HELD_BELOW, HELD_ON_GPU),
        }),
      },
    );
    assert(
      property(array(event, { maxLength: 120, size: "max" }), (events) => {
        const recording = new RecordingSink();
        const subject = new ContentResidency(recording, { slotsMax: SLOTS });
        const naive = new NaiveResidency();
        const contents = new Set<string>();
        for (const each of events) {
          if ("learned" in each) {
            const { content, token, ends } = each.learned;
            const learned: NaivePrompt = {
              contents: path("c", content),
              tokens: path("t", token),
              ends: ends.toSorted((a, b) => a - b).slice(0, content.length),
            };
            learn(subject, learned);
            naive.learn(learned);
            for (const name of learned.contents) contents.add(name);
          } else {
            const name = path("t", each.token).at(-1)!;
            hold(subject, each.slot, name, each.holding);
            naive.held(each.slot, name, each.holding);
          }
        }
        expect(sorted(named(recording, contents))).toEqual(sorted(naive.holdings(SLOTS)));
        for (let slot = 0; slot < SLOTS; slot++) {
          expect(subject.heldKnown(slot)).toBe(naive.heldKnown(slot));
        }
      }),
      { numRuns: 300 },
    );
  });

  it("holds what a naive account holds of many conversations that share blocks", () => {
    const CONVERSATIONS = 80;
    const slot = integer({ min: 0, max: SLOTS - 1 });
    const holding = constantFrom<Holding>(NOT_HELD, HELD_BELOW, HELD_ON_GPU);
    const own = record({
      slot,
      holding,
      name: integer({ min: 0, max: CONVERSATIONS - 1 }),
      at: integer({ min: 0, max: 6 }),
      isAll: constantFrom(true, false),
    });
    const relearned = record({
      name: integer({ min: 0, max: CONVERSATIONS - 1 }),
      changed: constantFrom("t:other", undefined),
    });
    const all = Array.from({ length: CONVERSATIONS }, (_, i) => conversation(i));
    assert(
      property(
        array(oneof(own, own, own, relearned), { minLength: 20, maxLength: 150 }),
        (events) => {
          const recording = new RecordingSink();
          const subject = new ContentResidency(recording, { slotsMax: SLOTS });
          const naive = new NaiveResidency();
          const learnBoth = (prompt: NaivePrompt) => {
            learn(subject, prompt);
            naive.learn(prompt);
          };
          for (const each of all.slice(0, CONVERSATIONS / 2)) learnBoth(each);
          for (const event of events) {
            const { contents, tokens, ends } = all[event.name]!;
            if ("changed" in event) {
              const { changed } = event;
              const others =
                changed === undefined ? tokens : path(`${changed}${event.name}`, tokens);
              learnBoth({ contents, tokens: others, ends });
              continue;
            }
            for (const token of event.isAll ? tokens.slice(event.at) : [tokens[event.at]!]) {
              hold(subject, event.slot, token, event.holding);
              naive.held(event.slot, token, event.holding);
            }
          }
          const names = new Set(all.flatMap(({ contents }) => contents));
          expect(sorted(named(recording, names))).toEqual(sorted(naive.holdings(SLOTS)));
        },
      ),
      { numRuns: 200 },
    );
  });

  it("stays within its bytes, and claims nothing that is not held", () => {
    const bytesMax = 1024 * 1024;
    residency = new ContentResidency(sink, { slotsMax: SLOTS, bytesMax });
    const naive = new NaiveResidency();
    const rng = createRng(5);
    const contents = new Set<string>();
    for (let i = 0; i < 1_500; i++) {
      const steps = Array.from({ length: 4 }, () => Math.floor(rng() * 60));
      const tokens = path(
        "t",
        steps.flatMap((step) => [step, step, step, step]),
      );
      const learned = { contents: path("c", steps), tokens, ends: [4, 8, 12, 16] };
      learn(residency, learned);
      naive.learn(learned);
      for (const name of learned.contents) contents.add(name);
      for (const token of tokens) {
        for (const extra of ["", "/answer"]) {
          const slot = i % SLOTS;
          hold(residency, slot, token + extra, HELD_ON_GPU);
          naive.held(slot, token + extra, HELD_ON_GPU);
        }
      }
    }
    expect(residency.byteLength).toBeLessThanOrEqual(bytesMax);
    expect(residency.counts.forgottenContents).toBeGreaterThan(0);
    expect(residency.counts.forgottenTokens).toBeGreaterThan(0);
    const expected = naive.holdings(SLOTS);
    const held = named(sink, contents);
    expect([...held.keys()].filter((key) => !expected.has(key))).toEqual([]);
    expect(held.size).toBeGreaterThan(1_000);
  });
});
