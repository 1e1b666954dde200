// One request from the client to an engine and back.

import type { Sequence, SequenceContent } from "../../src/agents/simulator/model/sequence.ts";
import { contentKeys } from "./content-keys.ts";
import type { RoutedRequest } from "./policy.ts";
import type { Session, WorkloadRequest } from "./workload.ts";

const BYTES_PER_TOKEN = 4;
const MODEL = "Qwen/Qwen3-32B";

export class Flight implements SequenceContent<number> {
  readonly request: RoutedRequest;
  readonly session: Session;
  readonly turn: number;
  readonly sentAtMs: number;
  readonly isMeasured: boolean;
  /** When its endpoint was chosen: as it was sent, or after a wait. */
  decidedAtMs: number;
  /** Where it is; -1 until an engine took it. */
  slot = -1;
  /** As the engine sees it. */
  firstTokenAtMs = Infinity;
  lastTokenAtMs = Infinity;
  /** Once another engine has computed its prompt. */
  isRemote = false;
  /** Found cached by that engine. */
  prefillCachedTokens = 0;

  /** Called when the prompt was computed apart. */
  goOn: (sequence: Sequence<number>, atMs: number) => void = () => {};

  constructor(at: {
    readonly index: number;
    readonly sessionIndex: number;
    readonly session: Session;
    readonly turn: number;
    readonly sentAtMs: number;
    readonly isMeasured: boolean;
  }) {
    this.session = at.session;
    this.turn = at.turn;
    this.sentAtMs = at.sentAtMs;
    this.decidedAtMs = at.sentAtMs;
    this.isMeasured = at.isMeasured;
    const truth = at.session.turns[at.turn]!.request;
    const { tenant = `t${at.sessionIndex}`, priority = 0 } = at.session;
    const inference = {
      ...inferenceRequest(truth, at.index, at.sessionIndex),
      tenant,
      priority,
    };
    this.request = { index: at.index, session: at.sessionIndex, inference, truth };
  }

  get promptCount(): number {
    return this.request.truth.promptTokens;
  }

  get outputCount(): number {
    return this.request.truth.outputTokens;
  }

  /** What an outcome says of it, however it ends. */
  facts() {
    const { sentAtMs, decidedAtMs, promptCount } = this;
    const { tenant, priority } = this.request.inference;
    return {
      tenant,
      priority,
      sentAtMs,
      waitMs: decidedAtMs - sentAtMs,
      promptTokens: promptCount,
    };
  }

  hashes(): Int32Array {
    return this.request.truth.blocks;
  }
}

function inferenceRequest(truth: WorkloadRequest, index: number, session: number) {
  return {
    requestId: `r${index}`,
    model: MODEL,
    keys: contentKeys(truth),
    promptTokens: truth.promptTokens,
    outputTokensMax: truth.outputTokensMax,
    bodyBytes: truth.promptTokens * BYTES_PER_TOKEN,
    headers: { "x-session-id": `s${session}` },
  };
}
