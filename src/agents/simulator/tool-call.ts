// Answers that call a tool: one call, whose argument is the text that would have been the answer. The engine generates
// it as the chat template writes it when it comes back, so that the next turn finds it cached.

import type { OutputRequest } from "./model/output.ts";
import { generateOutput } from "./model/output.ts";
import { tokenize, type Token } from "./model/tokenizer.ts";
import type { Rng } from "../../scheduler/support/rng.ts";

/** As vLLM writes it. */
export interface ToolCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: string };
}

export interface CallingOutput {
  readonly tokens: readonly Token[];
  readonly toolCall: ToolCall;
}

/** A call is whole, also where the limit is too small for one. */
export function generateCall(tool: string, request: OutputRequest, rng: Rng): CallingOutput {
  const id = `call_${Math.floor(rng() * 2 ** 32)
    .toString(16)
    .padStart(8, "0")}`;
  const callOf = (text: string): ToolCall => ({
    id,
    type: "function",
    function: { name: tool, arguments: JSON.stringify({ text }) },
  });
  const tokensOf = (call: ToolCall) => tokenize(JSON.stringify([call]));
  const { limit, roomCount } = request;
  const room = Math.min(limit ?? roomCount, roomCount) - tokensOf(callOf("")).length;
  const lengthMax = Math.max(1, room);
  const bounds = { roomCount: lengthMax, limit: limit === undefined ? undefined : lengthMax };
  const { tokens } = generateOutput({ ...request, ...bounds }, rng);
  const toolCall = callOf(tokens.map(({ text }) => text).join(""));
  return { tokens: tokensOf(toolCall), toolCall };
}
