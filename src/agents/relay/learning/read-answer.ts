// Reads what an engine answered, as a client that goes on with the conversation sends it back: the first choice's
// text and tool calls. What it thought is left out, as clients and templates do. An answer that is not understood
// is not learned from; nothing of it is kept or logged.

import { z } from "zod";

/** Answers that end so are sent back; one that the engine gave up is asked for again. */
const ENDS: ReadonlySet<string> = new Set(["stop", "length", "tool_calls"]);
/** Calls of one answer. */
const TOOL_CALLS_MAX = 128;

/** What one answer adds to its prompt. */
export interface Said {
  /** Null where there was none. */
  readonly text: string | null;
  readonly toolCalls: readonly ToolCall[];
}

/** With its members in the order in which engines and most clients write them. */
export interface ToolCall {
  readonly id: string;
  readonly type: string;
  readonly function: { readonly name: string; readonly arguments: string };
}

const text = z.string().nullish();
const wholeCall = z.object({
  id: text,
  type: text,
  function: z.object({ name: text, arguments: text }).nullish(),
});
const partOfCall = z.object({
  ...wholeCall.shape,
  index: z
    .int()
    .min(0)
    .max(TOOL_CALLS_MAX - 1),
});
const messageOf = <Call extends z.ZodType>(call: Call) =>
  z.object({ content: text, tool_calls: z.array(call).max(TOOL_CALLS_MAX).nullish() }).nullish();
const choice = { index: z.int().nullish(), finish_reason: text, text };
const wholeSchema = z.object({
  choices: z.array(z.object({ ...choice, message: messageOf(wholeCall) })),
});
const eventSchema = z.object({
  choices: z.array(z.object({ ...choice, delta: messageOf(partOfCall) })),
});

/** Undefined for what is no answer to one prompt that has ended well. `bytes` are the answer's body. */
export function readAnswer(bytes: Uint8Array): Said | undefined {
  const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
  const said = body.trimStart().startsWith("{") ? readWhole(body) : readStream(body);
  return said !== undefined && isWellFormed(said) ? said : undefined;
}

function readWhole(body: string): Said | undefined {
  const parsed = wholeSchema.safeParse(parseJson(body));
  const first = parsed.data?.choices.find(({ index }) => (index ?? 0) === 0);
  if (first === undefined || !ENDS.has(first.finish_reason ?? "")) return undefined;
  const calls = new Calls();
  for (const [index, call] of (first.message?.tool_calls ?? []).entries()) {
    calls.add({ ...call, index });
  }
  return { text: first.text ?? first.message?.content ?? null, toolCalls: calls.all() };
}

function readStream(body: string): Said | undefined {
  const texts: string[] = [];
  const calls = new Calls();
  let hasEnded = false;
  for (const line of body.split("\n")) {
    if (!line.startsWith("data:")) continue;
    const data = line.slice("data:".length).trim();
    if (data === "[DONE]") break;
    const parsed = eventSchema.safeParse(parseJson(data));
    // An event of another kind may say anything.
    if (!parsed.success) return undefined;
    for (const { index, finish_reason: end, text: piece, delta } of parsed.data.choices) {
      if ((index ?? 0) !== 0) continue;
      const content = piece ?? delta?.content;
      if (typeof content === "string") texts.push(content);
      for (const part of delta?.tool_calls ?? []) calls.add(part);
      if (typeof end === "string" && !ENDS.has(end)) return undefined;
      hasEnded ||= typeof end === "string";
    }
  }
  if (!hasEnded) return undefined;
  return { text: texts.length === 0 ? null : texts.join(""), toolCalls: calls.all() };
}

/** Calls whose names and arguments come in pieces. */
class Calls {
  readonly #parts: { id: string; type: string; name: string; arguments: string[] }[] = [];

  add({ index, id, type, function: called }: z.output<typeof partOfCall>): void {
    const call = (this.#parts[index] ??= { id: "", type: "function", name: "", arguments: [] });
    call.id ||= id ?? "";
    call.type = type ?? call.type;
    call.name += called?.name ?? "";
    if (typeof called?.arguments === "string") call.arguments.push(called.arguments);
  }

  all(): ToolCall[] {
    return this.#parts.flatMap(({ id, type, name, arguments: pieces }) => {
      return [{ id, type, function: { name, arguments: pieces.join("") } }];
    });
  }
}

/** A lone surrogate cannot be sent back. */
function isWellFormed({ text: said, toolCalls }: Said): boolean {
  const texts = toolCalls.flatMap(({ id, function: { name, arguments: given } }) => {
    return [id, name, given];
  });
  return [said ?? "", ...texts].every((each) => each.isWellFormed());
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    // An engine's text is not to be trusted.
    return undefined;
  }
}
