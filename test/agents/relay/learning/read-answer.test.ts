import { describe, expect, it } from "vitest";
import { readAnswer } from "../../../../src/agents/relay/learning/read-answer.ts";

const whole = (...choices: object[]) => readAnswer(Buffer.from(JSON.stringify({ choices })));
const stream = (...choices: object[]) =>
  readAnswer(
    Buffer.from(
      [...choices.map((choice) => JSON.stringify({ choices: [choice] })), "[DONE]"]
        .map((data) => `data: ${data}\n\n`)
        .join(""),
    ),
  );
const call = { id: "c1", type: "function", function: { name: "find", arguments: '{"a":1}' } };

describe("an answer that is whole", () => {
  it("is its first choice's text, without what was thought", () => {
    const message = { role: "assistant", content: "So it is.", reasoning_content: "Hm." };
    expect(whole({ index: 0, message, finish_reason: "stop" })).toEqual({
      text: "So it is.",
      toolCalls: [],
    });
  });

  it("is its calls, in the order of their members", () => {
    const { id, type, function: called } = call;
    const message = { content: null, tool_calls: [{ function: called, index: 0, type, id }] };
    const said = whole({ index: 0, message, finish_reason: "tool_calls" });
    expect(said?.text).toBeNull();
    expect(JSON.stringify(said?.toolCalls)).toBe(JSON.stringify([call]));
  });

  it("is the text of a completion", () => {
    expect(whole({ index: 0, text: " and so", finish_reason: "length" })?.text).toBe(" and so");
  });
});

describe("a stream", () => {
  it("is what its pieces make, of the first choice", () => {
    const said = stream(
      { index: 0, delta: { role: "assistant", content: "" }, finish_reason: null },
      { index: 1, delta: { content: "No" }, finish_reason: null },
      { index: 0, delta: { reasoning: "Hm." }, finish_reason: null },
      { index: 0, delta: { content: "So it " }, finish_reason: null },
      { index: 0, delta: { content: "is \ud83d" }, finish_reason: null },
      { index: 0, delta: { content: "\ude42" }, finish_reason: "stop" },
    );
    expect(said).toEqual({ text: "So it is 🙂", toolCalls: [] });
  });

  it("joins the pieces of calls", () => {
    const { id, type, function: called } = call;
    const part = (index: number, more: object) => ({
      index: 0,
      delta: { tool_calls: [{ index, ...more }] },
    });
    const said = stream(
      part(0, { id, type, function: { name: called.name, arguments: "" } }),
      part(0, { function: { arguments: called.arguments.slice(0, 3) } }),
      part(0, { function: { arguments: called.arguments.slice(3) } }),
      part(1, { id: "c2", function: { name: "end", arguments: "{}" } }),
      { index: 0, delta: {}, finish_reason: "tool_calls" },
    );
    const other = { ...call, id: "c2", function: { name: "end", arguments: "{}" } };
    expect(said).toEqual({ text: null, toolCalls: [call, other] });
  });

  it("is the text of a completion, with CRLF and comments", () => {
    const lines = [
      ": ping",
      'data: {"choices":[{"index":0,"text":"a"}]}',
      "",
      'data:{"choices":[{"index":0,"text":"b","finish_reason":"stop"}]}',
      "",
      'data: {"choices":[],"usage":{"prompt_tokens":1}}',
      "",
    ];
    expect(readAnswer(Buffer.from(lines.join("\r\n")))?.text).toBe("ab");
  });
});

it.for([
  { name: "no JSON", said: () => readAnswer(Buffer.from("{")) },
  { name: "nothing", said: () => readAnswer(Buffer.from("")) },
  { name: "no choice", said: () => whole() },
  {
    name: "another choice alone",
    said: () => whole({ index: 1, text: "a", finish_reason: "stop" }),
  },
  { name: "one that was given up", said: () => whole({ text: "a", finish_reason: "abort" }) },
  { name: "one without an end", said: () => whole({ text: "a", finish_reason: null }) },
  { name: "a stream without an end", said: () => stream({ index: 0, delta: { content: "a" } }) },
  {
    name: "a stream that was given up",
    said: () => stream({ index: 0, text: "a", finish_reason: "abort" }),
  },
  { name: "events of another API", said: () => readAnswer(Buffer.from('data: {"type":"x"}\n\n')) },
  {
    name: "a lone surrogate",
    said: () => stream({ index: 0, text: "\ud83d", finish_reason: "stop" }),
  },
  {
    name: "too many calls",
    said: () =>
      stream({ index: 0, delta: { tool_calls: [{ index: 128 }] }, finish_reason: "tool_calls" }),
  },
])("$name is no answer", ({ said }) => {
  expect(said()).toBeUndefined();
});

it("text that reads like a surrogate is text", () => {
  expect(whole({ text: "\\ud83d", finish_reason: "stop" })?.text).toBe("\\ud83d");
});
