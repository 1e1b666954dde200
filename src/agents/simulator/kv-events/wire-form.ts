// How events look on the wire: each engine, and each generation of it, has its own form.
//
// Source: vLLM vllm/distributed/kv_events.py at several versions; SGLang
// python/sglang/srt/disaggregation/kv_events.py; llm-d-inference-sim pkg/kv-cache.

import { z } from "zod";
import type { Flag } from "../../process/flags.ts";

const wireFormSchema = z.strictObject({
  batch: z.enum(["array", "map"]).describe("a batch as [ts, events, rank] or with names"),
  rank: z.boolean().describe("whether a batch names its data-parallel rank"),
  events: z.enum(["array", "map"]).describe("an event as [tag, ...] or with names"),
  fields: z
    .enum(["lora-id", "medium", "lora-name", "extra-keys", "groups", "locality"])
    .describe("the last field an event has, from oldest to newest"),
  dialect: z.enum(["vllm", "sglang"]).describe("whose names of tiers and of SGLang's own fields"),
  hashes: z
    .enum(["uint", "int", "bytes"])
    .describe("low 64 bits of a hash, the same as a signed number, or all its bytes"),
  integers: z
    .enum(["shortest", "fixed"])
    .describe("as msgspec packs them, or 64 bits each but for tokens, as Go does"),
  firstParent: z.enum(["nil", "zero"]).describe("parent of the first block of a chain"),
  extraKeys: z
    .enum(["plain", "offset"])
    .describe("a picture as its identifier, or as [identifier, offset]"),
  offload: z
    .enum(["tokenless", "described"])
    .describe("whether events of the CPU tier say what a block holds"),
  groups: z
    .union([z.literal(1), z.literal(2)])
    .describe("2: a sliding-window group beside full attention tells everything again"),
  firstSequence: z.number().int().min(0).max(1_000_000).describe("number of the first batch"),
  replay: z
    .enum(["topic", "bare"])
    .describe("whether a replayed batch comes with its topic (vLLM from 0.26 on)"),
});

export type WireForm = z.output<typeof wireFormSchema>;

const VLLM: WireForm = {
  batch: "array",
  rank: true,
  events: "array",
  fields: "groups",
  dialect: "vllm",
  hashes: "uint",
  integers: "shortest",
  firstParent: "nil",
  extraKeys: "offset",
  offload: "tokenless",
  groups: 1,
  firstSequence: 0,
  replay: "topic",
};

/** By name. `vllm` is the array form of current releases, `vllm-map` the newest. */
export const WIRE_FORMS = {
  vllm: VLLM,
  "vllm-0.9": { ...VLLM, rank: false, fields: "lora-id", replay: "bare" },
  "vllm-0.11": { ...VLLM, fields: "lora-name", replay: "bare" },
  "vllm-0.18": { ...VLLM, fields: "extra-keys", extraKeys: "plain", replay: "bare" },
  "vllm-map": { ...VLLM, events: "map" },
  "vllm-map-batch": { ...VLLM, events: "map", batch: "map" },
  "vllm-bytes": { ...VLLM, hashes: "bytes" },
  sglang: { ...VLLM, dialect: "sglang", fields: "medium", hashes: "int", replay: "bare" },
  "sglang-map": { ...VLLM, dialect: "sglang", events: "map", hashes: "int", replay: "bare" },
  "llm-d-sim": {
    ...VLLM,
    fields: "extra-keys",
    integers: "fixed",
    firstParent: "zero",
    firstSequence: 1,
  },
} as const satisfies Readonly<Record<string, WireForm>>;

type WireFormName = keyof typeof WIRE_FORMS;

const NAMES = Object.keys(WIRE_FORMS) as WireFormName[];

const flagSchema = wireFormSchema.partial().extend({
  from: z.enum(NAMES).default("vllm").describe("the form that the other keys change"),
});

const isName = (text: string): text is WireFormName => Object.hasOwn(WIRE_FORMS, text);

/** A form by name, or `{"from": name, ...what is different}`. */
export const wireFormFlag: Flag<WireForm> = {
  placeholder: "NAME|JSON",
  help:
    `form of the events: ${NAMES.join(", ")};\n` +
    'or JSON that changes one, as {"from": "vllm", "hashes": "bytes"}, with any of\n' +
    describeKeys().join("\n"),
  fallback: WIRE_FORMS.vllm,
  parse(text) {
    if (isName(text)) return { ok: true, value: WIRE_FORMS[text] };
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      // Reached by a name that does not exist.
      return { ok: false, expected: `one of ${NAMES.join(", ")}, or JSON` };
    }
    const parsed = flagSchema.safeParse(json);
    if (!parsed.success) {
      const problem = z.prettifyError(parsed.error).replaceAll("\n", " ");
      return { ok: false, expected: `a form of events: ${problem}` };
    }
    const { from, ...changes } = parsed.data;
    // JSON has no undefined, so a key that is there has a value.
    return { ok: true, value: { ...WIRE_FORMS[from], ...changes } as WireForm };
  },
};

function describeKeys(): string[] {
  return Object.entries(wireFormSchema.shape).map(
    ([key, schema]) => `  ${key} ${valuesOf(schema)}: ${schema.description}`,
  );
}

function valuesOf(schema: z.ZodType): string {
  if (schema instanceof z.ZodEnum) return schema.options.join("|");
  if (schema instanceof z.ZodBoolean) return "true|false";
  return schema instanceof z.ZodUnion ? "1|2" : "N";
}
