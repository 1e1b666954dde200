// Both legs of a request, as a router sends them to two simulators.

import type { SimulatorParameters } from "../../../../src/agents/simulator/parameters.ts";
import { eventually, MODEL, post, startEngines } from "../harness.ts";

export interface HandOffState {
  running: number;
  waiting: number;
  held: number;
  blocksInUse: number;
  heldReleased: number;
  heldExpired: number;
  transfersReceived: number;
  transfersFailed: number;
  aborted: number;
  requests: { leg?: string; receivedTokens: number; cachedTokens: number; outcome: string }[];
}

export interface Answered {
  choices: { message: { content: string }; finish_reason: string }[];
  usage: { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } };
  kv_transfer_params?: Record<string, unknown>;
  ec_transfer_params?: Record<string, object>;
  error?: { message: string; type: string };
}

/** Two simulators that share nothing but the network. Time is a hundred times as fast. */
export async function startPair(
  prefill: Partial<SimulatorParameters> = {},
  decode: Partial<SimulatorParameters> = {},
) {
  const fast = { "time-scale": 0.01 } as const;
  const prefiller = await startEngines({ ...fast, role: "prefill", ...prefill });
  const decoder = await startEngines({ ...fast, role: "decode", ...decode });
  return { prefiller, decoder };
}

export const PROMPT = "a prompt of some words, ".repeat(40);

export function ask(url: string, fields: object = {}, init: Parameters<typeof post>[2] = {}) {
  const body = { model: MODEL, messages: [{ role: "user", content: PROMPT }], ...fields };
  return post(`${url}/v1/chat/completions`, body, init);
}

export async function answerOf(response: Response | Promise<Response>): Promise<Answered> {
  return (await (await response).json()) as Answered;
}

export async function stateOf(url: string): Promise<HandOffState> {
  return (await fetch(`${url}/sim/state`)).json() as Promise<HandOffState>;
}

/** The state, when it is as `isGood` wants it. */
export function untilState(
  url: string,
  isGood: (state: HandOffState) => boolean,
): Promise<HandOffState> {
  return eventually(async () => {
    const state = await stateOf(url);
    if (!isGood(state)) throw new Error(JSON.stringify({ ...state, requests: [] }));
    return state;
  });
}

/** The prefill leg of vLLM's NixlConnector; gives the parameters for the other one. */
export async function prefillLeg(url: string): Promise<Record<string, unknown>> {
  const kv = { do_remote_decode: true, do_remote_prefill: false };
  const answer = await answerOf(ask(url, { max_tokens: 1, kv_transfer_params: kv }));
  return answer.kv_transfer_params!;
}
