// Asks a decoder whether it holds enough of a prompt to begin, before anybody prefills it.

import { walk, type Walk } from "../walk.ts";
import { peek } from "./read-answer.ts";
import type { Paired, SplitState } from "./split-state.ts";
import type { Probe } from "./connector.ts";
import { isStream } from "../attempt.ts";
import type { EngineAnswer } from "../engine-answer.ts";

/** Of an answer that is not streamed and must be whole to be judged; a longer one is the client's. */
export const PROBED_BYTES_MAX = 1024 * 1024;

/**
 * What the client is to get; undefined if the prompt is to be prefilled first. A decoder that cannot be
 * asked, or has trouble of its own, leaves the question to what comes after the prefill.
 */
export async function askProbe(
  { context, request }: SplitState,
  { handOff }: Paired,
  decoder: string,
): Promise<Walk | undefined> {
  const { probe } = handOff;
  if (probe === undefined) return undefined;
  const phase = request.startPhase("decode");
  const { body, headers } = probe.leg;
  const walked = await walk(context, {
    ...request,
    destinations: [decoder],
    leg: (endpoint) => ({ body, headers: { ...request.headers(endpoint, phase), ...headers } }),
  });
  const judged = await judgeWalk(walked, probe, request.signal);
  phase.end({ "llm_d.pd_proxy.decode_target": decoder, "fairlead.probe": judged === undefined });
  return judged;
}

async function judgeWalk(
  walked: Walk,
  probe: Probe,
  signal: AbortSignal,
): Promise<Walk | undefined> {
  const { result } = walked;
  if (result.kind === "cancelled") return walked;
  if (result.kind !== "answered") return undefined;
  const { statusCode: status } = result.answer;
  // It may be full while others are not: those are asked after the prefill.
  if (status === 429 || status >= 500) return dropped(result.answer);
  if (status >= 300) return walked;
  const isStreamed = isStream(result.answer);
  const { verdict, isBroken, answer } = await peek(
    result.answer,
    PROBED_BYTES_MAX,
    (begun, isWhole) => probe.judge(begun, { stream: isStreamed, whole: isWhole }),
  );
  if (isBroken && signal.aborted) return { ...walked, result: { kind: "cancelled" } };
  // The client has seen nothing of one that broke off.
  if (isBroken || verdict === "prefill") return dropped(answer);
  return { ...walked, result: { kind: "answered", answer } };
}

function dropped(answer: EngineAnswer): undefined {
  answer.body.on("error", () => undefined).destroy();
}
