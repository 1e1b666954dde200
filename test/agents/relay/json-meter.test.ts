import { describe, expect, it } from "vitest";
import { JsonMeter } from "../../../src/agents/relay/json-meter.ts";

const USAGE = {
  prompt_tokens: 9,
  completion_tokens: 3,
  prompt_tokens_details: { cached_tokens: 8 },
};

function meterOf(text: string, chunkBytes = Infinity): JsonMeter {
  const meter = new JsonMeter();
  const bytes = Buffer.from(text);
  const step = Math.min(chunkBytes, Math.max(1, bytes.byteLength));
  for (let at = 0; at < bytes.byteLength; at += step) meter.push(bytes.subarray(at, at + step));
  return meter;
}

const completion = (more: object = {}, indent = 0) =>
  JSON.stringify(
    {
      id: "c",
      choices: [
        {
          message: { content: 'fake "usage":{"prompt_tokens":1} "finish_reason":"no"' },
          finish_reason: "stop",
        },
      ],
      usage: USAGE,
      ...more,
    },
    null,
    indent,
  );

describe("JsonMeter", () => {
  it.for([1, 2, 7, 64, Infinity])("reads usage and finish reason in chunks of %d", (chunkBytes) => {
    for (const text of [completion(), completion({}, 2)]) {
      const meter = meterOf(text, chunkBytes);
      expect(meter.usage).toEqual({ promptTokens: 9, cachedTokens: 8, completionTokens: 3 });
      expect(meter.finishReason).toBe("stop");
    }
  });

  it("reads usage that a long tail follows, and forgets nothing by it", () => {
    const ids = Array.from({ length: 100_000 }, (_, i) => i);
    const meter = meterOf(completion({ prompt_token_ids: ids }), 16_384);
    expect(meter.usage.promptTokens).toBe(9);
  });

  it("reads counts that an engine leaves out as unknown", () => {
    const meter = meterOf('{"usage":{"prompt_tokens":4,"prompt_tokens_details":null}}');
    expect(meter.usage).toEqual({ promptTokens: 4, cachedTokens: null, completionTokens: null });
  });

  it.for([
    '{"usage":null}',
    '{"usage":{"prompt_tokens":-1}}',
    '{"usage":{"prompt_tokens":1',
    '{"a":"usage"}',
    `{"usage":{"x":"${"y".repeat(8_000)}"}}`,
    '{"error":{"message":"no"}}',
    "",
  ])("finds nothing in %j", (text) => {
    const meter = meterOf(text, 100);
    expect(meter.usage.promptTokens).toBeNull();
    expect(meter.finishReason).toBeNull();
  });
});
