import { describe, expect, it } from "vitest";
import { findPlugin, pluginOf } from "../../../../src/scheduler/registry.ts";
import { createProducer } from "../../support/plugins.ts";

const plugin = pluginOf("token-producer");
const notesOf = (params: object) => plugin.notes!(plugin.params.parse(params));

describe("token-producer", () => {
  it("goes by its former type, too", () => {
    expect(findPlugin("tokenizer")).toBe(plugin);
  });

  it("has nothing to tell that the request does not tell", () => {
    expect(createProducer("token-producer").data).toEqual({});
    expect(notesOf({})).toEqual([]);
  });

  it("says what prompts are tokenized by", () => {
    const params = { modelName: "m", vllm: { url: "http://render:8000" } };
    expect(notesOf(params)).toEqual([expect.stringContaining("prefixKeys says how")]);
    expect(notesOf({ udsTokenizerConfig: { socketFile: "/tmp/x" } })).toHaveLength(1);
  });

  it("wants a model's name for an engine that renders", () => {
    const parsed = plugin.params.safeParse({ vllm: {} });
    expect(parsed.error?.issues[0]?.path).toEqual(["modelName"]);
  });

  it("refuses parameters that llm-d does not have", () => {
    expect(plugin.params.safeParse({ vllm: { uri: "x" }, modelName: "m" }).success).toBe(false);
    for (const image of [{ statik: 3 }, { static: { staticTokens: 3 } }, { mode: "fixed" }])
      expect(plugin.params.safeParse({ estimate: { image } }).success).toBe(false);
    expect(plugin.params.safeParse({ udsTokenizerConfig: { socket: "/tmp/x" } }).success).toBe(
      false,
    );
  });

  it("takes llm-d's estimates", () => {
    const image = { mode: "static", static: { staticToken: 8 } };
    const video = { frames: { mode: "sampled", sampled: { sampleFPS: 1.5 } }, maxVideoTokens: 9 };
    expect(plugin.params.safeParse({ estimate: { image, video } }).success).toBe(true);
  });

  it.for(["banana", "5", "", "0s", "-1s"])("refuses the timeout %j", (timeout) => {
    for (const vllm of [{ timeout }, { mmTimeout: timeout }])
      expect(plugin.params.safeParse({ modelName: "m", vllm }).success).toBe(false);
  });
});
