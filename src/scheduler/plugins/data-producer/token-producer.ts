// token-producer: the tokens of the prompt, as far as a router knows them.
//
//   promptTokens = bytes of the canonical prompt / 4
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/dataproducer/tokenizer, whose `estimate`
// makes pseudo-tokens of four bytes each. The Worker counts those bytes, and hashes them into content
// keys, before a pool's object is asked; so there is nothing left to do here, and this plugin exists to
// take its parameters. llm-d's other ways ask an engine or a sidecar for the real tokens: a round trip
// that no decision here waits for. Prompts of scripts with long tokens are overestimated, images count
// with the Worker's estimate. O(1).

import { z } from "zod";
import { defineDataProducer } from "../../plugin.ts";

const mediaEstimate = z.record(z.string(), z.unknown());

const params = z.strictObject({
  modelName: z.string().optional().describe("Model whose tokenizer is asked for"),
  estimate: z
    .strictObject({
      image: mediaEstimate.optional(),
      video: mediaEstimate.optional(),
      audio: mediaEstimate.optional(),
    })
    .optional()
    .describe("How tokens of media are estimated"),
  vllm: z
    .strictObject({
      url: z.string().default("http://localhost:8000"),
      timeout: z.string().default("5s"),
      mmTimeout: z.string().default("30s"),
    })
    .optional()
    .describe("An engine that renders prompts"),
  udsTokenizerConfig: z
    .record(z.string(), z.unknown())
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
        "Prompts are not tokenized before a decision: their tokens are estimated as a quarter of " +
          "their bytes, and vllm and udsTokenizerConfig are without effect.",
      );
    }
    if (estimate !== undefined)
      notes.push("estimate is without effect: the Worker's own rule estimates media.");
    return notes;
  },
  create: () => ({ data: {}, produce() {} }),
});
