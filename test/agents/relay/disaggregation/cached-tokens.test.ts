import { describe, expect, it } from "vitest";
import type { StagedApi } from "../../../../src/agents/relay/disaggregation/connector.ts";
import {
  CachedTokensWriter,
  HELD_BYTES_MAX,
  withCachedTokens,
} from "../../../../src/agents/relay/disaggregation/cached-tokens.ts";

const edit = (usage: string, count: number, api: StagedApi = "chat") => {
  const edited = withCachedTokens(Buffer.from(usage), { api, count });
  return edited === undefined ? undefined : Buffer.from(edited).toString();
};

describe("a usage object", () => {
  it.for([
    {
      usage: '{"prompt_tokens_details":{"cached_tokens":39,"x":1.0}}',
      n: 8,
      to: '{"prompt_tokens_details":{"cached_tokens":8,"x":1.0}}',
    },
    {
      usage: '{"prompt_tokens_details":{"cached_tokens":39}}',
      n: 0,
      to: '{"prompt_tokens_details":{"cached_tokens":0}}',
    },
    {
      usage: '{"prompt_tokens_details":null}',
      n: 8,
      to: '{"prompt_tokens_details":{"cached_tokens":8}}',
    },
    {
      usage: '{"prompt_tokens":9}',
      n: 8,
      to: '{"prompt_tokens_details":{"cached_tokens":8},"prompt_tokens":9}',
    },
    { usage: '{"prompt_tokens":9}', n: 0, to: undefined },
    { usage: "null", n: 8, to: undefined },
  ])("$usage of which $n were cached", ({ usage, n, to }) => {
    expect(edit(usage, n)).toBe(to);
  });

  it.for([
    { usage: '{"input_tokens":40}', n: 0, to: undefined },
    {
      usage: '{"input_tokens":40}',
      n: 8,
      to: '{"input_tokens_details":{"cached_tokens":8},"input_tokens":40}',
    },
    {
      usage: '{"input_tokens_details":{"cached_tokens":39}}',
      n: 8,
      to: '{"input_tokens_details":{"cached_tokens":8}}',
    },
  ])("of Responses, $usage of which $n were cached", ({ usage, n, to }) => {
    expect(edit(usage, n, "responses")).toBe(to);
  });

  it.for([
    { usage: '{"input_tokens":40,"output_tokens":2}', n: 0, to: undefined },
    { usage: '{"output_tokens":2}', n: 8, to: undefined },
    {
      usage: '{"input_tokens":40}',
      n: 8,
      to: '{"cache_read_input_tokens":8,"input_tokens":32}',
    },
    {
      usage: '{"input_tokens":1,"cache_read_input_tokens":39,"output_tokens":2}',
      n: 8,
      to: '{"input_tokens":32,"cache_read_input_tokens":8,"output_tokens":2}',
    },
    {
      usage: '{"input_tokens":1,"cache_read_input_tokens":39}',
      n: 0,
      to: '{"input_tokens":40,"cache_read_input_tokens":0}',
    },
  ])("of Messages, $usage of which $n were cached", ({ usage, n, to }) => {
    expect(edit(usage, n, "messages")).toBe(to);
  });
});

describe("a JSON answer that passes by", () => {
  const answer = JSON.stringify({
    choices: [
      { message: { content: 'says "usage":{"prompt_tokens_details":{"cached_tokens":1}}' } },
    ],
    tools: [{ parameters: { usage: { type: "object" } } }, { usage: { prompt_tokens: 1 } }],
    value: "usage",
    odd: "ends in \\\\",
    usage: { prompt_tokens: 40, prompt_tokens_details: { cached_tokens: 39 } },
    usages: { prompt_tokens: 40 },
    later: "é",
  });
  const expected = answer.replace('"cached_tokens":39', '"cached_tokens":8');

  it("has the count in it, whatever its chunks", () => {
    const bytes = Buffer.from(answer);
    for (let size = 1; size <= bytes.byteLength; size++) {
      const writer = new CachedTokensWriter({ api: "chat", count: 8 });
      const out: Buffer[] = [];
      for (let at = 0; at < bytes.byteLength; at += size) {
        out.push(writer.push(bytes.subarray(at, at + size)));
      }
      out.push(writer.end());
      expect(Buffer.concat(out).toString()).toBe(expected);
    }
  });

  it("holds no more back than a usage object may be long", () => {
    const writer = new CachedTokensWriter({ api: "chat", count: 8 });
    const endless = Buffer.from(`{"usage":{${'"a":"b",'.repeat(2 * HELD_BYTES_MAX)}`);
    let sent = 0;
    for (let at = 0; at < endless.byteLength; at += 100) {
      const chunk = endless.subarray(at, at + 100);
      sent += writer.push(chunk).byteLength;
      expect(at + chunk.byteLength - sent).toBeLessThanOrEqual(HELD_BYTES_MAX);
    }
    expect(sent + writer.end().byteLength).toBe(endless.byteLength);
  });

  it("is passed on as it is where it breaks off", () => {
    const writer = new CachedTokensWriter({ api: "chat", count: 8 });
    const cut = '{"usage":{"prompt_tokens_details":{"cached';
    expect(`${writer.push(Buffer.from(cut)).toString()}${writer.end().toString()}`).toBe(cut);
  });
});
