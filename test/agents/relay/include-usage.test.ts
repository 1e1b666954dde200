import { describe, expect, it } from "vitest";
import { prepareBody } from "../../../src/agents/relay/include-usage.ts";

const prepare = (text: string) => prepareBody(Buffer.from(text));
const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString();

describe("prepareBody", () => {
  it.for([
    {
      name: "adds the options",
      text: '{"model":"m", "stream":true}',
      result: '{"stream_options":{"include_usage":true},"model":"m", "stream":true}',
    },
    {
      name: "replaces null options",
      text: '{"stream":true,"stream_options": null }',
      result: '{"stream":true,"stream_options": {"include_usage":true} }',
    },
    {
      name: "fills empty options",
      text: '{"stream":true,"stream_options":{}}',
      result: '{"stream":true,"stream_options":{"include_usage":true}}',
    },
    {
      name: "keeps other options",
      text: '{"stream_options":{"continuous_usage_stats":true},"stream":true}',
      result:
        '{"stream_options":{"include_usage":true,"continuous_usage_stats":true},"stream":true}',
    },
    {
      name: "turns a refusal round",
      text: '{"stream":true,"stream_options":{"include_usage": false}}',
      result: '{"stream":true,"stream_options":{"include_usage": true}}',
    },
  ])("$name where the client did not ask", ({ text, result }) => {
    const prepared = prepare(text);
    expect(textOf(prepared.bytes)).toBe(result);
    expect(prepared.isUsageAdded).toBe(true);
    expect(() => void JSON.parse(result)).not.toThrow();
  });

  it.for([
    { name: "asks already", text: '{"stream":true,"stream_options":{"include_usage":true}}' },
    { name: "does not stream", text: '{"stream":false,"model":"m"}' },
    { name: "says nothing of streaming", text: '{"model":"m"}' },
    { name: "mentions streaming only inside", text: '{"metadata":{"stream":true}}' },
    { name: "has odd options", text: '{"stream":true,"stream_options":7}' },
    { name: "is not an object", text: "[1]" },
    { name: "is not JSON", text: "hello" },
  ])("leaves a body alone that $name", ({ text }) => {
    const prepared = prepare(text);
    expect(textOf(prepared.bytes)).toBe(text);
    expect(prepared.isUsageAdded).toBe(false);
  });

  it("names the model, if it is one", () => {
    expect(prepare(String.raw`{"model":"a\/b"}`).model).toBe("a/b");
    expect(prepare('{"model":7}').model).toBeNull();
    expect(prepare(`{"model":"${"m".repeat(600)}"}`).model).toBeNull();
  });
});
