// What a pool calls a prefix by: the prompt's content, or its tokens. Tokens are what engines hash, so
// nothing has to be learned to compare; but a prompt must be tokenized before it is decided where it goes.

import { z } from "zod";
import { CONTENT_BLOCK_TOKENS } from "../scheduler/kv/content-keys.ts";
import { wholeNumber } from "../scheduler/config/whole-number.ts";

export const PREFIX_KEYS_LIMITS = {
  adaptersMax: 255,
  locationCharsMax: 1_024,
} as const;

const webUrl = z.url({ protocol: /^https?$/ });
const modelName = z.string().min(1).max(256);
const BLOCK_SIZES = [1, 2, 4, 8, 16, 32, 64] as const;

/** Where a file of a model is. */
const location = z
  .string()
  .max(PREFIX_KEYS_LIMITS.locationCharsMax)
  .refine(
    (text) => parseFileLocation(text) !== undefined,
    "expected r2:KEY, assets:/PATH or a URL that begins with https:// or http://",
  );

const tokens = {
  kind: z.literal("tokens"),
  blockSizeTokens: z
    .literal(BLOCK_SIZES, {
      error: `expected one of ${BLOCK_SIZES.join(", ")}: blocks of engines must fill ${CONTENT_BLOCK_TOKENS} tokens evenly`,
    })
    .default(16)
    .describe("Tokens of a block of the engines' caches"),
  adapters: z
    .array(modelName)
    .max(PREFIX_KEYS_LIMITS.adaptersMax)
    .default([])
    .describe("Models that are LoRA adapters: engines tell their blocks apart by these names"),
};

const renderSchema = z.strictObject({
  ...tokens,
  by: z.literal("render"),
  modelName: modelName
    .optional()
    .describe("The base model, asked for in place of adapters: a renderer knows no adapter"),
  timeoutMs: wholeNumber(10, 5_000)
    .default(300)
    .describe("A request goes on without keys after that"),
});

const edgeSchema = z.strictObject({
  ...tokens,
  by: z.literal("edge"),
  tokenizer: location.describe("The model's tokenizer.json"),
  tokenizerConfig: location.optional().describe("Its tokenizer_config.json"),
  chatTemplate: location
    .optional()
    .describe("Its chat template; that of tokenizerConfig where absent"),
});

export const prefixKeysSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("content") }),
  z.discriminatedUnion("by", [renderSchema, edgeSchema]),
]);

export type PrefixKeys = z.output<typeof prefixKeysSchema>;
export type TokenPrefixKeys = Extract<PrefixKeys, { kind: "tokens" }>;
export type RenderPrefixKeys = z.output<typeof renderSchema>;
export type EdgePrefixKeys = z.output<typeof edgeSchema>;

/** Where a file of a model is: in the bucket bound as MODEL_FILES, among the Worker's assets, or on the web. */
export type FileLocation =
  | { readonly kind: "r2"; readonly key: string }
  | { readonly kind: "assets"; readonly path: string }
  | { readonly kind: "url"; readonly url: string };

/** Undefined for what is none. */
export function parseFileLocation(text: string): FileLocation | undefined {
  if (/\s/.test(text)) return undefined;
  if (/^r2:[^/]/.test(text)) return { kind: "r2", key: text.slice("r2:".length) };
  if (/^assets:\/[^/]/.test(text)) return { kind: "assets", path: text.slice("assets:".length) };
  return webUrl.safeParse(text).success ? { kind: "url", url: text } : undefined;
}
