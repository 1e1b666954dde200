// Asks decoders, in whichever order the legs run. A decoder that answers what it was handed with a 5xx, or with a
// stream that begins with an error, most likely could not use it: the prefiller died, a lease expired, a transfer
// failed. It is asked once more, before a byte has left, and computes the prompt itself; where its engine cannot,
// it gets a new hand-over.

import { isStream } from "../attempt.ts";
import type { EngineAnswer } from "../engine-answer.ts";
import { keepAnswer } from "../kept-answer.ts";
import { SseMeter } from "../sse-meter.ts";
import type { Walk } from "../walk.ts";
import type { SplitState } from "./split-state.ts";

export interface Decoders {
  /** The endpoint that was asked last was handed something. */
  readonly isHandedOver: boolean;
  ask(destinations: readonly string[]): Promise<Walk>;
  /** What was handed over is of no use. */
  lost(): void | Promise<void>;
}

/** Never rejects. */
export async function askDecoders(state: SplitState, decoders: Decoders): Promise<Walk> {
  const { context, request } = state;
  const walked = await decoders.ask(request.destinations);
  const failure = failedHandOver(walked, decoders);
  if (failure === undefined) return served(state, walked, decoders);
  if (!context.retries.tryWithdraw()) return walked;
  const kept = await keepAnswer(walked.endpoint, failure);
  await decoders.lost();
  const failed = new Set(walked.failed);
  const others = request.destinations.filter((address) => !failed.has(address));
  const again = await decoders.ask([...new Set([walked.endpoint, ...others])]);
  const isLost = failedHandOver(again, decoders) !== undefined;
  const { result } = isLost ? again : served(state, again, decoders);
  return {
    ...again,
    failed: [...walked.failed, ...again.failed],
    triedCount: walked.triedCount + again.triedCount,
    result: result.kind === "exhausted" ? { kind: "exhausted", kept: result.kept ?? kept } : result,
  };
}

function served(state: SplitState, walked: Walk, { isHandedOver }: Decoders): Walk {
  const { result } = walked;
  if (result.kind === "answered" && result.answer.statusCode < 300) {
    state.served(isHandedOver ? "handed-over" : "alone");
  }
  return walked;
}

function failedHandOver({ result }: Walk, { isHandedOver }: Decoders): EngineAnswer | undefined {
  if (!isHandedOver || result.kind !== "answered") return undefined;
  const { answer } = result;
  return answer.statusCode >= 500 || beginsWithError(answer) ? answer : undefined;
}

/** Whether a stream's first event is an error. It is left unread. */
function beginsWithError(answer: EngineAnswer): boolean {
  if (!isStream(answer)) return false;
  // Waited for by the attempt; engines write whole events.
  const begun = answer.body.read() as Buffer | null;
  if (begun === null) return false;
  answer.body.unshift(begun);
  const end = /\r?\n\r?\n/.exec(begun.toString("latin1"));
  const meter = new SseMeter(false);
  meter.push(begun.subarray(0, end === null ? 0 : end.index + end[0].length));
  return meter.hasError;
}
