import { describe, expect, it } from "vitest";
import { PARSERS } from "../../../src/scheduler/parsers.ts";
import { ParserRegistry } from "../../../src/worker/parsers/registry.ts";

const parser = (type: string, ...claims: string[]) => ({ type, claims });
const registry = (...parsers: ReturnType<typeof parser>[]) => new ParserRegistry(parsers);

const openai = parser("openai", "v1/chat/completions", "v1/completions");
const anthropic = parser("anthropic", "v1/messages");
const vertex = parser("vertex", "PredictionService/ChatCompletions");
const passthrough = parser("passthrough");

describe("ParserRegistry", () => {
  it.for([
    { name: "an exact path", path: "/v1/chat/completions", type: "openai" },
    { name: "another parser's path", path: "/v1/messages", type: "anthropic" },
    {
      name: "a suffix after a dot",
      path: "/google.cloud.aiplatform.v1beta1.PredictionService/ChatCompletions",
      type: "vertex",
    },
    { name: "a suffix after a slash", path: "/openai/v1/completions", type: "openai" },
    { name: "a slash at the end", path: "/v1/messages/", type: "anthropic" },
    { name: "a query", path: "/v1/messages?beta=true", type: "anthropic" },
    { name: "a slash and a query", path: "/v1/messages/?beta=/v1/completions", type: "anthropic" },
    { name: "nobody's path", path: "/unknown/path", type: undefined },
    { name: "a claim inside a name", path: "/xv1/messages", type: undefined },
    { name: "a claim in the middle", path: "/v1/messages/batches", type: undefined },
    { name: "another case", path: "/V1/Messages", type: undefined },
  ])("routes $name", ({ path, type }) => {
    expect(registry(openai, anthropic, vertex).find(path)?.type).toBe(type);
  });

  it("gives a path that two claim to the first", () => {
    const custom = parser("custom", "v1/chat/completions");
    expect(registry(openai, custom).find("/v1/chat/completions")).toBe(openai);
    expect(registry(custom, openai).find("/v1/chat/completions")).toBe(custom);
  });

  it("gives the longest claim its path, whatever the order", () => {
    const sglang = parser("sglang", "generate");
    const vllm = parser("vllm", "inference/v1/generate");
    for (const parsers of [registry(sglang, vllm), registry(vllm, sglang)]) {
      expect(parsers.find("/inference/v1/generate")).toBe(vllm);
      expect(parsers.find("/generate")).toBe(sglang);
    }
  });

  it("falls back to the parser that claims nothing", () => {
    const parsers = registry(openai, passthrough);
    expect(parsers.find("/v1/completions")).toBe(openai);
    expect(parsers.find("/unknown/path")).toBe(passthrough);
  });

  it("does not use what stands behind the fallback", () => {
    const parsers = registry(openai, passthrough, anthropic, parser("other"));
    expect(parsers.parsers).toEqual([openai, passthrough]);
    expect(parsers.find("/v1/messages")).toBe(passthrough);
  });

  it("ignores a type that was there already", () => {
    const again = parser("openai", "v1/embeddings");
    const parsers = registry(openai, again);
    expect(parsers.parsers).toEqual([openai]);
    expect(parsers.find("/v1/embeddings")).toBeUndefined();
  });
});

describe("the known parsers", () => {
  const known = new ParserRegistry(PARSERS.filter(({ claims }) => claims.length > 0));

  it.for([
    { path: "/v1/chat/completions", type: "openai-parser" },
    { path: "/v1/completions", type: "openai-parser" },
    { path: "/v1/messages", type: "anthropic-parser" },
    { path: "/v1/messages/count_tokens", type: "anthropic-parser" },
    { path: "/inference/v1/generate", type: "vllmhttp-parser" },
    { path: "/generate", type: "sglanghttp-parser" },
    { path: "/other/generate", type: undefined },
    { path: "/vllm.grpc.engine.VllmEngine/Generate", type: "vllmgrpc-parser" },
    { path: "/x.v1.PredictionService/RawPredict", type: "vertexai-parser" },
    { path: "/v1/models", type: undefined },
  ])("$path is $type's", ({ path, type }) => {
    expect(known.find(path)?.type).toBe(type);
  });

  it("name each type once", () => {
    expect(new Set(PARSERS.map(({ type }) => type)).size).toBe(PARSERS.length);
  });
});
