import { describe, expect, it } from "vitest";
import {
  CHUNKED_TEXT_CHARS_MAX,
  ChunkedDecode,
} from "../../../../../src/agents/relay/disaggregation/connectors/chunked-decode.ts";

const MESSAGES = '[{"role":"user","content":"count"}]';
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();
const begin = (body: string, chunkTokens = 4) =>
  ChunkedDecode.begin({ api: "chat", body: Buffer.from(body) }, chunkTokens);
const chat = (members: string) => `{"messages":${MESSAGES}${members}}`;

function answer(content: string | null, tokens: number, finish = "length"): Buffer {
  const message = { role: "assistant", content };
  return Buffer.from(
    JSON.stringify({
      id: `id-${tokens}`,
      object: "chat.completion",
      created: 1_700_000_000 + tokens,
      choices: [{ index: 0, message, finish_reason: finish }],
      usage: {
        prompt_tokens: 10,
        completion_tokens: tokens,
        total_tokens: 10 + tokens,
        prompt_tokens_details: { cached_tokens: tokens },
      },
    }),
  );
}

/** With text after it. */
const reasoning = (key: string) =>
  Buffer.from(answer("text", 4).toString().replace('"content"', `"${key}":"hmm","content"`));

describe("what an engine is asked", () => {
  it("is the request with the size of a chunk, and then its continuation", () => {
    const decode = begin(chat(',"max_tokens":10,"kv_transfer_params":{"a":1},"seed":null'))!;
    expect(text(decode.nextBody())).toBe(
      `{"max_completion_tokens":4,"stream":false,"messages":${MESSAGES},"max_tokens":4,` +
        '"kv_transfer_params":{"a":1},"seed":null}',
    );
    expect(decode.take(answer("one two", 4))).toBe("more");
    expect(text(decode.nextBody())).toBe(
      '{"max_completion_tokens":4,"stream":false,"continue_final_message":true,' +
        '"add_generation_prompt":false,"messages":[{"role":"user","content":"count"},' +
        '{"role":"assistant","content":"one two"}],"max_tokens":4,"seed":null}',
    );
    expect(decode.take(answer(" three", 4))).toBe("more");
    expect(text(decode.nextBody())).toContain('"max_tokens":2');
    expect(text(decode.nextBody())).toContain('"content":"one two three"');
    expect(decode.take(answer(" four", 2))).toBe("done");
  });

  it("is the request without what was handed over, where chunks are of no use", () => {
    const decode = begin(chat(',"max_tokens":10,"kv_transfer_params":{"a":1}'))!;
    expect(text(decode.wholeBody())).toBe(chat(',"max_tokens":10'));
  });

  it("is not asked again after a later chunk without text", () => {
    const decode = begin(chat(',"max_tokens":10'))!;
    expect(decode.take(answer("one", 4))).toBe("more");
    expect(decode.take(answer(null, 4))).toBe("done");
  });

  it.for([
    { members: ',"max_tokens":4', why: "one chunk holds it" },
    { members: ',"max_tokens":99,"max_completion_tokens":4', why: "one chunk holds it" },
    { members: ',"n":2', why: "there are several answers" },
    { members: ',"tools":[{}]', why: "a tool may be called" },
    { members: ',"stop":"."', why: "a stop string may lie across" },
    { members: ',"seed":0', why: "a seed begins again" },
    { members: ',"response_format":{"type":"json_object"}', why: "a grammar begins again" },
    { members: ',"messages":1', why: "it is no request" },
  ])("is the request itself with $members, as $why", ({ members }) => {
    expect(begin(chat(members))).toBeUndefined();
  });

  it("is chunked where defaults are written out", () => {
    const members =
      ',"n":1,"tools":[],"stop":null,"presence_penalty":0,"logprobs":false,"response_format":{"type":"text"}';
    expect(begin(chat(members))).toBeDefined();
  });

  it("is the request itself on every other API", () => {
    const request = { api: "completions", body: Buffer.from(chat("")) } as const;
    expect(ChunkedDecode.begin(request, 4)).toBeUndefined();
  });
});

describe("when a chunked answer ends", () => {
  it.for([
    { given: answer("x", 3, "stop"), verdict: "done", why: "the engine has done" },
    { given: answer("", 4), verdict: "whole", why: "there is no text to continue" },
    { given: answer(null, 4), verdict: "whole", why: "there is no text to continue" },
    { given: answer(null, 4, "stop"), verdict: "done", why: "the engine says no more" },
    { given: reasoning("reasoning"), verdict: "whole", why: "it reasons" },
    { given: reasoning("reasoning_content"), verdict: "whole", why: "it reasons" },
    { given: answer("x", 4), verdict: "more", why: "only the chunk is full" },
    { given: Buffer.from("<html>"), verdict: "unreadable", why: "it is none" },
    { given: Buffer.from('{"choices":[]}'), verdict: "unreadable", why: "it is none" },
    { given: Buffer.from('{"choices":[{"message":1}]}'), verdict: "unreadable", why: "it is none" },
  ])("is $verdict where $why", ({ given, verdict }) => {
    expect(begin(chat(""))!.take(given)).toBe(verdict);
  });

  it("counts a chunk without usage as full", () => {
    const decode = begin(chat(',"max_tokens":8'))!;
    const bare = Buffer.from('{"choices":[{"message":{"content":"x"},"finish_reason":"length"}]}');
    expect([decode.take(bare), decode.take(bare)]).toEqual(["more", "done"]);
  });

  it("holds text up to its bound", () => {
    const decode = begin(chat(""))!;
    expect(decode.take(answer("x".repeat(CHUNKED_TEXT_CHARS_MAX), 4))).toBe("more");
    expect(decode.take(answer("x", 4))).toBe("done");
  });
});

describe("what a client sees of chunks", () => {
  it("is one answer with the usage of all", () => {
    const decode = begin(chat(""))!;
    decode.take(answer("one ", 4));
    decode.take(answer("two", 3, "stop"));
    expect(JSON.parse(text(decode.whole()))).toEqual({
      id: "id-4",
      object: "chat.completion",
      created: 1_700_000_004,
      choices: [
        { index: 0, message: { role: "assistant", content: "one two" }, finish_reason: "stop" },
      ],
      usage: {
        prompt_tokens: 10,
        completion_tokens: 7,
        total_tokens: 17,
        prompt_tokens_details: { cached_tokens: 4 },
      },
    });
  });

  it("is one stream with one end", () => {
    const decode = begin(chat(',"stream":true,"stream_options":{"include_usage":true}'))!;
    expect(decode.isStream).toBe(true);
    decode.take(answer("one ", 4));
    const events = [text(decode.event())];
    decode.take(answer("two", 3, "stop"));
    events.push(text(decode.event()), ...text(decode.streamEnd()).split(/(?<=\n\n)/));
    expect(events.at(-1)).toBe("data: [DONE]\n\n");
    const chunks = events.slice(0, -1).map((event) => {
      expect(event).toMatch(/^data: [^\n]*\n\n$/);
      return JSON.parse(event.slice(6)) as Record<string, unknown>;
    });
    const same = { id: "id-4", object: "chat.completion.chunk", created: 1_700_000_004 };
    const usage = {
      prompt_tokens: 10,
      completion_tokens: 7,
      total_tokens: 17,
      prompt_tokens_details: { cached_tokens: 4 },
    };
    const first = { index: 0, delta: { role: "assistant", content: "one " }, finish_reason: null };
    const last = { index: 0, delta: { content: "two" }, finish_reason: "stop" };
    expect(chunks).toEqual([
      { ...same, choices: [first] },
      { ...same, choices: [last] },
      { ...same, choices: [], usage },
    ]);
  });

  it("is no usage where none was asked for", () => {
    const decode = begin(chat(',"stream":true'))!;
    decode.take(answer("x", 1, "stop"));
    expect(text(decode.streamEnd())).toBe("data: [DONE]\n\n");
  });

  it("is whole events of an engine that writes line ends into JSON", () => {
    const decode = begin(chat(',"stream":true'))!;
    const spaced = JSON.stringify(JSON.parse(text(answer("a\nb", 1))), undefined, 2);
    decode.take(Buffer.from(spaced));
    expect(text(decode.event())).toMatch(/^data: [^\n]*"content": "a\\nb"[^\n]*\n\n$/);
  });
});
