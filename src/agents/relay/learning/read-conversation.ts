// The conversation that an answer makes of its prompt, as the next turn will have it:
//
//   canonical   │ prompt │ role:assistant, text, tool calls │ what comes next │
//                        └ promptBytes                      └ contentBytes
//
// Engines are asked for the tokens of a conversation that has gone on, with a stand-in for what comes next: templates
// render the last answer otherwise than those before it (Qwen 3 puts empty thoughts before it, other ones drop what was
// thought only then). Nothing of the stand-in is learned: keys end with the last whole block of the answer.

import {
  type ChatBody,
  chatBytes,
  type CompletionBody,
  hasMedia,
  parsePrompt,
  promptMessage,
  readCompletion,
  type ReadPrompt,
  tokenizeBody,
} from "./read-prompt.ts";
import { readAnswer, type Said, type ToolCall } from "./read-answer.ts";

/** Long enough to be found again in the text, and unlikely to stand there otherwise. */
const NEXT = "Fairlead asks what comes next.";

type Message = ChatBody["messages"][number];

export type ReadConversation =
  | {
      readonly ok: true;
      /** The conversation, and what comes next. */
      readonly prompt: ReadPrompt;
      /** Bytes of its canonical form that are the request's prompt. */
      readonly promptBytes: number;
      /** And those that are this and the answer. */
      readonly contentBytes: number;
    }
  /** `unfit`: what comes next is not its prompt and its answer. */
  | { readonly ok: false; readonly why: "unreadable" | "unfit" | "media" };

/** `body` is the request's, `answer` what the engine sent back, as it came. */
export async function readConversation(
  path: string,
  body: Uint8Array,
  answer: Uint8Array,
): Promise<ReadConversation> {
  const parsed = parsePrompt(path, body);
  if (parsed === undefined) return { ok: false, why: "unreadable" };
  if (!isFit(parsed.body)) return { ok: false, why: "unfit" };
  const said = readAnswer(answer);
  if (said === undefined) return { ok: false, why: "unreadable" };
  return parsed.api === "chat" ? afterChat(parsed.body, said) : afterText(parsed.body, said);
}

/** With several answers nobody knows which one goes on. */
function isFit(body: ChatBody | CompletionBody): boolean {
  const { n, best_of: bestOf, echo } = body;
  return (n ?? 1) === 1 && (bestOf ?? 1) === 1 && body["continue_final_message"] !== true && !echo;
}

async function afterChat(body: ChatBody, said: Said): Promise<ReadConversation> {
  if (body.messages.some(hasMedia)) return { ok: false, why: "media" };
  const answered = assistantMessage(body.messages, said);
  const next = nextMessages(said.toolCalls);
  const bytesOf = (messages: readonly Message[]) =>
    chatBytes({ messages: messages.map(promptMessage) });
  // Messages come last, so that each that is added adds its own form.
  const prompt = await chatBytes({ ...body, messages: body.messages.map(promptMessage) });
  const answer = await bytesOf([answered]);
  const canonical = Buffer.concat([prompt, answer, await bytesOf(next)]);
  return {
    ok: true,
    promptBytes: prompt.length,
    contentBytes: prompt.length + answer.length,
    prompt: {
      model: body.model,
      cacheSalt: body.cache_salt ?? null,
      canonical,
      learnableBytes: canonical.length,
      tokens: {
        kind: "ask",
        body: tokenizeBody(body, [...body.messages, answered, ...next], false),
      },
      rendering: null,
    },
  };
}

/** Each call has its result, as some templates insist on. */
function nextMessages(toolCalls: readonly ToolCall[]): Message[] {
  if (toolCalls.length === 0) return [{ role: "user", content: NEXT }];
  return toolCalls.map(({ id }) => ({ role: "tool", tool_call_id: id, content: NEXT }));
}

function assistantMessage(before: readonly Message[], { text, toolCalls }: Said): Message {
  if (toolCalls.length === 0) return { role: "assistant", content: text ?? "" };
  // Clients differ in how they write calls. This one has shown it, if it has sent any back.
  const sample = before.findLast((message) => (message.tool_calls ?? []).length > 0);
  const shape = sample?.tool_calls?.[0];
  const nothing = sample === undefined || sample.content ? null : sample.content;
  return {
    role: "assistant",
    // A client that leaves the content out, or sends none, does so again.
    ...(nothing === undefined && !text ? {} : { content: text || nothing }),
    tool_calls: toolCalls.map((call) => shapedLike(call, shape)),
  };
}

/** Members in the order in which `shape` has them. */
function shapedLike<Value extends object>(value: Value, shape: unknown): Value {
  if (typeof shape !== "object" || shape === null) return value;
  const known = new Map<string, unknown>(Object.entries(value));
  const entries = Object.entries(shape).flatMap(([name, like]): [string, unknown][] => {
    const member = known.get(name);
    if (!known.delete(name)) return [];
    return [[name, typeof member === "object" ? shapedLike(member ?? {}, like) : member]];
  });
  return Object.fromEntries([...entries, ...known]) as Value;
}

function afterText(body: CompletionBody, { text }: Said): ReadConversation {
  const [first] = typeof body.prompt === "string" ? [body.prompt] : body.prompt;
  // Of ids there are no ids of what followed them.
  if (typeof first !== "string") return { ok: false, why: "unfit" };
  const prompt = readCompletion({ ...body, prompt: first + (text ?? "") });
  const promptBytes = Buffer.byteLength(first);
  return { ok: true, prompt, promptBytes, contentBytes: prompt.canonical.length };
}
