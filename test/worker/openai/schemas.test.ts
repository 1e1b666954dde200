import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseChatRequest } from "../../../src/worker/openai/schemas.ts";

// What is plain is read without the schema. A body becomes one that the schema has to read by a member that says
// nothing else: then both must come to the same.
const NOT_PLAIN = { include_usage: true, further: 1 };

const count = fc.oneof(
  fc.integer({ min: -1, max: 3 }),
  fc.constantFrom(null, 1.5, 2 ** 53, "1", Number.MAX_SAFE_INTEGER),
);
const anything = fc.constantFrom<unknown>(null, true, 0, "", "x", [], {}, { a: [1] });
const text = fc.oneof(
  fc.constantFrom<unknown>("", "x", "m".repeat(256), "m".repeat(257)),
  anything,
);
const message = fc.record(
  { role: text, content: text, name: text, tool_calls: anything, tool_call_id: text },
  { requiredKeys: [] },
);
const fields = {
  model: text,
  stream: anything,
  n: count,
  max_tokens: count,
  max_completion_tokens: count,
  cache_salt: text,
  chat_template: anything,
  chat_template_kwargs: anything,
  documents: anything,
  reasoning_effort: anything,
  temperature: anything,
  tools: fc.oneof(fc.array(anything, { maxLength: 2 }), anything),
  messages: fc.oneof(fc.array(fc.oneof(message, anything), { maxLength: 3 }), anything),
};
/** Mostly right, so that more than the first mistake is seen. */
const right = {
  model: fc.constant("m"),
  stream: fc.boolean(),
  n: fc.constantFrom(1, null),
  max_tokens: fc.constant(16),
  temperature: fc.constant(0.5),
  tools: fc.constantFrom<unknown>(null, [], [{ type: "function" }]),
  messages: fc.array(fc.record({ role: fc.constant("user"), content: fc.string() }), {
    minLength: 1,
    maxLength: 3,
  }),
};

function withoutOptions(read: ReturnType<typeof parseChatRequest>): typeof read {
  if (!read.ok) return read;
  const { stream_options: _, ...others } = read.value;
  return { ok: true, value: others };
}

describe("parseChatRequest", () => {
  it("reads what is plain as the schema does", () => {
    const bodies = fc.oneof(
      fc.record(fields, { requiredKeys: [] }),
      fc.record(right, { requiredKeys: [] }),
      fc.tuple(fc.record(right), fc.record(fields, { requiredKeys: [] })).map(([a, b]) => {
        const [name] = Object.keys(b);
        return name === undefined ? a : { ...a, [name]: b[name as keyof typeof b] };
      }),
    );
    let accepted = 0;
    fc.assert(
      fc.property(bodies, (body) => {
        const read = parseChatRequest(body);
        const bySchema = parseChatRequest({ ...body, stream_options: NOT_PLAIN });
        expect(read).toStrictEqual(withoutOptions(bySchema));
        if (read.ok) accepted += 1;
      }),
      { numRuns: 2_000 },
    );
    expect(accepted).toBeGreaterThan(200);
  });

  it.each([
    [{ include_usage: true }, { include_usage: true }],
    [{ include_usage: null }, { include_usage: null }],
    [{ include_usage: false, further: 1 }, { include_usage: false }],
    [{}, {}],
    [null, null],
  ])("keeps of the stream's options %j what is known", (given, kept) => {
    const messages = [{ role: "user", content: "x" }];
    const read = parseChatRequest({ messages, stream_options: given });
    expect(read).toStrictEqual({ ok: true, value: { messages, stream_options: kept } });
  });

  it.each([true, { include_usage: 1 }])("refuses the stream's options %j", (given) => {
    const read = parseChatRequest({
      messages: [{ role: "user", content: "x" }],
      stream_options: given,
    });
    expect(read.ok).toBe(false);
  });
});
