import fc from "fast-check";
import { expect, it } from "vitest";
import {
  decodeLearned,
  encodeLearned,
  joinLearned,
  LEARNED_LIMITS,
  type LearnedContent,
} from "../../../src/agents/learning/learned-message.ts";
import { CONTENT_KEYS_MAX } from "../../../src/scheduler/kv/content-keys.ts";

const word = fc.nat(0xffff_ffff);
const keys = (countMax: number) =>
  fc
    .array(fc.tuple(word, word), { minLength: 1, maxLength: countMax })
    .map((pairs) => Uint32Array.from(pairs.flat()));

const content = keys(20).chain((contentKeys) =>
  fc.record({
    tokensPerKey: fc.integer({ min: 1, max: LEARNED_LIMITS.tokensPerKeyMax }),
    contentKeys: fc.constant(contentKeys),
    tokenKeys: keys(20),
    tokenCounts: fc
      .array(fc.nat(1_000_000), {
        minLength: contentKeys.length / 2,
        maxLength: contentKeys.length / 2,
      })
      .map((counts) => Uint32Array.from(counts).toSorted()),
  }),
);

it("is read as it was written", () => {
  fc.assert(
    fc.property(content, (written) => {
      expect(decodeLearned(encodeLearned(written))).toEqual({ ok: true, value: [written] });
    }),
  );
});

it("is read as it was written, several at once", () => {
  const several = fc.array(content, { minLength: 1, maxLength: LEARNED_LIMITS.promptsMax });
  fc.assert(
    fc.property(several, (written) => {
      const bytes = joinLearned(written.map(encodeLearned));
      expect(decodeLearned(bytes)).toEqual({ ok: true, value: written });
    }),
    { numRuns: 20 },
  );
});

const LARGEST: LearnedContent = {
  tokensPerKey: LEARNED_LIMITS.tokensPerKeyMax,
  contentKeys: new Uint32Array(CONTENT_KEYS_MAX * 2),
  tokenKeys: new Uint32Array(LEARNED_LIMITS.tokenKeysMax * 2),
  tokenCounts: new Uint32Array(CONTENT_KEYS_MAX),
};

it("fits its bound of bytes at all other bounds", () => {
  const bytes = encodeLearned(LARGEST);
  expect(decodeLearned(bytes).ok).toBe(true);
  expect(bytes.byteLength).toBeLessThanOrEqual(LEARNED_LIMITS.bodyBytesMax);
});

const GOOD: LearnedContent = {
  tokensPerKey: 16,
  contentKeys: Uint32Array.of(1, 2, 3, 4),
  tokenKeys: Uint32Array.of(5, 6),
  tokenCounts: Uint32Array.of(7, 8),
};
const json = (fields: object) =>
  Buffer.from(
    JSON.stringify({ ...(JSON.parse(encodeLearned(GOOD).toString()) as object), ...fields }),
  );

it.for([
  { name: "no JSON", bytes: Buffer.from("{"), error: "expected JSON" },
  { name: "another version", bytes: json({ v: 2 }), error: /^v: / },
  { name: "a field more", bytes: json({ prompt: "secret" }), error: /^body: / },
  { name: "no base64", bytes: json({ tokenKeys: "secret!" }), error: /^tokenKeys: / },
  { name: "half a word", bytes: json({ tokenKeys: "AAAA" }), error: /^tokenKeys: / },
  { name: "half a key", bytes: json({ tokenKeys: "AAAAAA==" }), error: /^tokenKeys: / },
  {
    name: "no token keys",
    bytes: encodeLearned({ ...GOOD, tokenKeys: new Uint32Array() }),
    error: /^body: /,
  },
  {
    name: "fewer counts than content keys",
    bytes: encodeLearned({ ...GOOD, tokenCounts: Uint32Array.of(7) }),
    error: /^tokenCounts: /,
  },
  {
    name: "counts that fall",
    bytes: encodeLearned({ ...GOOD, tokenCounts: Uint32Array.of(8, 7) }),
    error: /^tokenCounts: /,
  },
  {
    name: "too many content keys",
    bytes: encodeLearned({
      ...LARGEST,
      contentKeys: new Uint32Array(CONTENT_KEYS_MAX * 2 + 2),
      tokenCounts: new Uint32Array(CONTENT_KEYS_MAX + 1),
    }),
    error: /^contentKeys: /,
  },
  { name: "no step", bytes: json({ tokensPerKey: 0 }), error: /^tokensPerKey: / },
])("$name is refused, and not repeated", ({ bytes, error }) => {
  const decoded = decodeLearned(bytes);
  expect(decoded).toMatchObject({ ok: false, error: expect.stringMatching(error) as string });
  expect(JSON.stringify(decoded)).not.toContain("secret");
});
