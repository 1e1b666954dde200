// token-producer: the tokens of the prompt, as far as a router knows them.
//
//   promptTokens = bytes of the canonical prompt / 4
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/dataproducer/tokenizer, whose `estimate`
// makes pseudo-tokens of four bytes each. The Worker counts those bytes, and hashes them into content
// keys, before a pool's object is asked; so there is nothing left to do here, and this plugin exists to
// take its parameters. llm-d's other ways ask an engine or a sidecar for the real tokens: a round trip
// that decisions here wait for only where the pool's `prefixKeys` says so, which then counts the tokens,
// too. Prompts of scripts with long tokens are overestimated, images count
// with the Worker's estimate. O(1).

import { z } from "zod";
import { parseDurationMs } from "../../config/quantities.ts";
import { defineDataProducer } from "../../plugin.ts";

const count = z.int().min(0).optional();
const number = z.number().min(0).optional();
const resolution = z.strictObject({ width: count, height: count }).optional();
const byFactor = z.strictObject({ factor: count }).optional();
const tokenMode = z.enum(["static", "dynamic"]).optional();

const imageEstimate = z.strictObject({
  mode: tokenMode,
  defaultResolution: resolution,
  static: z.strictObject({ staticToken: count }).optional(),
  dynamic: byFactor,
});
const videoEstimate = z.strictObject({
  defaultResolution: resolution,
  defaultDuration: number,
  tokensPerFrame: z
    .strictObject({
      mode: tokenMode,
      static: z.strictObject({ numTokensPerFrame: count }).optional(),
      dynamic: byFactor,
    })
    .optional(),
  frames: z
    .strictObject({
      mode: z.enum(["sampled", "strided"]).optional(),
      minFrames: count,
      maxFrames: count,
      sampled: z.strictObject({ sampleFPS: number, temporalPatchSize: count }).optional(),
      strided: z.strictObject({ defaultSourceFPS: number, frameStride: count }).optional(),
    })
    .optional(),
  maxVideoTokens: count,
});

const duration = z.string().refine((text) => (parseDurationMs(text) ?? 0) > 0, {
  error: "expected a duration over 0, e.g. 5s",
});

const params = z.strictObject({
  modelName: z.string().optional().describe("Model whose tokenizer is asked for"),
  estimate: z
    .strictObject({
      image: imageEstimate.optional(),
      video: videoEstimate.optional(),
    })
    .optional()
    .describe("How tokens of media are estimated"),
  vllm: z
    .strictObject({
      url: z.string().default("http://localhost:8000"),
      timeout: duration.default("5s"),
      mmTimeout: duration.default("30s"),
    })
    .optional()
    .describe("An engine that renders prompts"),
  udsTokenizerConfig: z
    .strictObject({
      socketFile: z.string().optional(),
      useTCP: z.boolean().optional(),
      modelTokenizerMap: z.record(z.string(), z.string()).optional(),
    })
    .optional()
    .describe("Deprecated: a tokenizer's socket"),
});

export const tokenProducer = defineDataProducer({
  type: "token-producer",
  aliases: ["tokenizer"],
  params: params.refine(({ vllm, modelName }) => vllm === undefined || modelName !== undefined, {
    path: ["modelName"],
    error: "expected a model's name: vllm renders a prompt for one model",
  }),
  notes({ estimate, vllm, udsTokenizerConfig }) {
    const notes: string[] = [];
    if (vllm !== undefined || udsTokenizerConfig !== undefined) {
      notes.push(
        "Prompts are tokenized before a decision only where the pool's prefixKeys says how; otherwise " +
          "their tokens are estimated as a quarter of their bytes. vllm and udsTokenizerConfig are " +
          "without effect.",
      );
    }
    if (estimate !== undefined)
      notes.push("estimate is without effect: the Worker's own rule estimates media.");
    return notes;
  },
  create: () => ({ data: {}, produce() {} }),
});
