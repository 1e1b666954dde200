import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EVENT_BYTES_MAX, SseMeter } from "../../../src/agents/relay/sse-meter.ts";

const USAGE =
  '{"prompt_tokens":9,"total_tokens":12,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":8}}';

/** vLLM 0.11, with `include_usage`. */
const events = (newline = "\n") =>
  [
    'data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}',
    ": keep-alive",
    'data: {"id":"c","choices":[{"index":0,"delta":{"content":"say \\"usage\\":{\\"prompt_tokens\\":1} ü"},"finish_reason":null}]}',
    'data: {"id":"c","choices":[{"index":0,"delta":{"content":"!"},"finish_reason":"length","stop_reason":null}]}',
    `data: {"id":"c","choices":[],"usage":${USAGE}}`,
    "data: [DONE]",
  ].map((event) => `${event}${newline}${newline}`);

interface Read {
  text: string;
  meter: SseMeter;
}

/** Feeds `bytes` in pieces that end at `cuts`. */
function read(bytes: Buffer, cuts: readonly number[], isUsageAdded: boolean): Read {
  const meter = new SseMeter(isUsageAdded);
  const out: Buffer[] = [];
  let from = 0;
  for (const to of [...cuts, bytes.byteLength]) {
    // A copy in a buffer of its own, overwritten after use: nothing may be kept by reference.
    const chunk = Buffer.from(bytes.subarray(from, to));
    out.push(Buffer.from(meter.push(chunk)));
    chunk.fill(0);
    from = to;
  }
  out.push(meter.end());
  return { text: Buffer.concat(out).toString(), meter };
}

const facts = ({ meter }: Read) => ({
  ...meter.usage,
  finishReason: meter.finishReason,
  isComplete: meter.isComplete,
  hasError: meter.hasError,
});

const ALL_FACTS = {
  promptTokens: 9,
  cachedTokens: 8,
  completionTokens: 3,
  finishReason: "length",
  isComplete: true,
  hasError: false,
};

describe.for([
  { name: "LF", newline: "\n" },
  { name: "CRLF", newline: "\r\n" },
])("SseMeter with $name", ({ newline }) => {
  const text = events(newline).join("");
  const bytes = Buffer.from(text);
  const stripped = events(newline)
    .filter((event) => !event.includes('"usage":'))
    .join("");

  it("passes everything on where the client asked for usage", () => {
    const result = read(bytes, [], false);
    expect(result.text).toBe(text);
    expect(facts(result)).toEqual(ALL_FACTS);
  });

  it("takes the usage out where only the relay asked", () => {
    const result = read(bytes, [], true);
    expect(result.text).toBe(stripped);
    expect(facts(result)).toEqual(ALL_FACTS);
  });

  it("gives the same bytes and facts for every way to cut the stream in two", () => {
    for (let cut = 0; cut <= bytes.byteLength; cut++) {
      const result = read(bytes, [cut], true);
      expect(result.text).toBe(stripped);
      expect(facts(result)).toEqual(ALL_FACTS);
    }
  });

  it("gives the same for single bytes and for every random chunking", () => {
    const each = Array.from({ length: bytes.byteLength - 1 }, (_, i) => i + 1);
    expect(read(bytes, each, true).text).toBe(stripped);
    const cuts = fc.uniqueArray(fc.integer({ min: 0, max: bytes.byteLength }), { maxLength: 40 });
    fc.assert(
      fc.property(cuts, fc.boolean(), (unsorted, isUsageAdded) => {
        const result = read(
          bytes,
          unsorted.toSorted((a, b) => a - b),
          isUsageAdded,
        );
        expect(result.text).toBe(isUsageAdded ? stripped : text);
        expect(facts(result)).toEqual(ALL_FACTS);
      }),
    );
  });
});

describe("SseMeter", () => {
  const one = (event: string, isUsageAdded = true) =>
    read(Buffer.from(`${event}\n\n`), [], isUsageAdded);

  it("passes each whole event on at once", () => {
    const meter = new SseMeter(true);
    expect(meter.push(Buffer.from('data: {"a":1}\n')).toString()).toBe("");
    expect(meter.push(Buffer.from('\ndata: {"b"')).toString()).toBe('data: {"a":1}\n\n');
  });

  it.for([
    { event: 'data: {"usage":null,"choices":[{}]}', left: 'data: {"choices":[{}]}' },
    { event: 'data: {"choices":[{}],"usage":null}', left: 'data: {"choices":[{}]}' },
    {
      event: 'data: {"id":"x" , "usage" : null, "choices":[]}',
      left: 'data: {"id":"x", "choices":[]}',
    },
    { event: 'data:{"usage":null}', left: "data:{}" },
    { event: `data: {"choices":[{}],"usage":${USAGE}}`, left: 'data: {"choices":[{}]}' },
  ])("takes an unasked usage member out of $event", ({ event, left }) => {
    expect(one(event).text).toBe(`${left}\n\n`);
    expect(one(event, false).text).toBe(`${event}\n\n`);
  });

  it("reads usage that stands in a chunk with content, before the end", () => {
    const { meter } = one(`data: {"choices":[{"finish_reason": "stop"}],"usage":${USAGE}}`);
    expect(meter.usage.promptTokens).toBe(9);
    expect(meter.finishReason).toBe("stop");
  });

  it("notices an error that the engine reports inside the stream", () => {
    expect(one('data: {"error":{"message":"out of memory"}}').meter.hasError).toBe(true);
    expect(one('data: {"error":null,"choices":[]}').meter.hasError).toBe(false);
    expect(one('data: {"choices":[{"delta":{"content":"\\"error\\":{}"}}]}').meter.hasError).toBe(
      false,
    );
  });

  it("knows a stream that was cut short", () => {
    expect(one('data: {"choices":[{"finish_reason":null}]}').meter.isComplete).toBe(false);
    expect(one("data: [DONE]").meter.isComplete).toBe(true);
  });

  it.for([
    "data: not json",
    'data: {"usage":',
    `data: {"usage":{}}\ndata: {"usage":${USAGE}}`,
    `event: x\nid: 7\ndata: {"usage":"a"}`,
    'data: {"usage":{"prompt_tokens":-1}}',
    ": comment only",
    "",
  ])("passes %j on unread where the client asked", (event) => {
    const result = one(event, false);
    expect(result.text).toBe(`${event}\n\n`);
    expect(result.meter.usage.promptTokens).toBeNull();
  });

  it.for(["message_stop", "response.completed", "response.incomplete", "response.failed"])(
    "knows the end of a stream of named events: %s",
    (name) => {
      const begin = 'event: message_delta\ndata: {"delta":{"text":"event: message_stop\\n"}}\n\n';
      const end = `event: ${name}\ndata: {}\n\n`;
      expect(read(Buffer.from(begin), [], false).meter.isComplete).toBe(false);
      const whole = read(Buffer.from(begin + end), [9], false);
      expect([whole.meter.isComplete, whole.text]).toEqual([true, begin + end]);
    },
  );

  it("passes the last event on even if its empty line is missing", () => {
    const result = read(Buffer.from("data: [DONE]\n"), [], true);
    expect(result.text).toBe("data: [DONE]\n");
    expect(result.meter.isComplete).toBe(true);
  });

  it("does not hold an event past its limit, and finds the next one", () => {
    const long = Buffer.from(`data: ${"x".repeat(EVENT_BYTES_MAX)}`);
    const meter = new SseMeter(true);
    const first = meter.push(long);
    expect(first.byteLength).toBeGreaterThanOrEqual(EVENT_BYTES_MAX);
    expect(meter.isInsideEvent).toBe(true);
    const rest = meter.push(Buffer.from(`yy\n\ndata: {"choices":[],"usage":${USAGE}}\n\n`));
    expect(Buffer.concat([first, rest]).toString()).toBe(`${long.toString()}yy\n\n`);
    expect(meter.isInsideEvent).toBe(false);
    expect(meter.usage.promptTokens).toBe(9);
  });

  it("passes any bytes on unchanged where the client asked, in any chunks", () => {
    const noise = fc.array(fc.constantFrom(0x0a, 0x0d, 0x64, 0x3a, 0x22, 0xff), { maxLength: 60 });
    fc.assert(
      fc.property(noise, fc.array(fc.nat(60), { maxLength: 6 }), (values, unsorted) => {
        const bytes = Buffer.from(values);
        const cuts = unsorted.filter((cut) => cut <= bytes.byteLength).toSorted((a, b) => a - b);
        const meter = new SseMeter(false);
        let from = 0;
        const out = [...cuts, bytes.byteLength].map((to) => {
          const piece = Buffer.from(meter.push(bytes.subarray(from, to)));
          from = to;
          return piece;
        });
        expect(Buffer.concat([...out, meter.end()]).equals(bytes)).toBe(true);
      }),
    );
  });
});

describe("what a prefiller had cached", () => {
  const tools = '"tools":[{"parameters":{"usage":{"prompt_tokens_details":{}}}}]';
  it.for([
    {
      api: "responses" as const,
      text: `event: response.completed\ndata: {"type":"response.completed","response":{${tools},"usage":{"input_tokens":40,"input_tokens_details":{"cached_tokens":39},"output_tokens":2}}}\n\n`,
      edits: [['"cached_tokens":39', '"cached_tokens":8']] as const,
    },
    {
      api: "messages" as const,
      text:
        'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":1,"cache_read_input_tokens":39,"output_tokens":0}}}\n\n' +
        'event: message_delta\ndata: {"type":"message_delta","delta":{},"usage":{"output_tokens":2}}\n\n' +
        'event: message_stop\ndata: {"type":"message_stop"}\n\n',
      edits: [
        ['"input_tokens":1,', '"input_tokens":32,'],
        ['"cache_read_input_tokens":39', '"cache_read_input_tokens":8'],
      ] as const,
    },
    {
      api: "chat" as const,
      text: `data: {"choices":[],${tools},"usage":{"prompt_tokens":40,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":39}}}\n\ndata: [DONE]\n\n`,
      edits: [['"cached_tokens":39', '"cached_tokens":8']] as const,
    },
  ])("stands in the usage of $api, and nowhere else", ({ api, text, edits }) => {
    const meter = new SseMeter(false, { api, count: 8 });
    const out = Buffer.concat([meter.push(Buffer.from(text)), meter.end()]).toString();
    expect(out).toBe(edits.reduce((all, [from, to]) => all.replace(from, to), text));
    expect(meter.usage).toEqual({ promptTokens: 40, cachedTokens: 39, completionTokens: 2 });
    expect(meter.isComplete).toBe(true);
  });
});
