// Decisions that isolates have taken alone, as far as they have told of them: what was chosen, and how it went.
// Whom else they considered is known only where they keep records of it.

import type { LocalCommit } from "../edge/contracts.ts";
import type { RefusedAttempt } from "./document.ts";
import { KeptTexts } from "./kept-texts.ts";
import type { DecisionResult } from "./record.ts";

/** The oldest go for new ones. An attempt has about 400 characters. */
export const LOCAL_DECISION_LIMITS = {
  textsMax: 4_096,
  charsMax: 2 * 1024 * 1024,
  charsPerTextMax: 8_192,
} as const;
/** Of one request; later ones are not kept. */
export const LOCAL_ATTEMPTS_MAX = 4;

type LocalAttempt = Pick<
  RefusedAttempt,
  "attempt" | "atMs" | "model" | "tenant" | "priority" | "promptTokens" | "totalBlocks"
> &
  Pick<RefusedAttempt, "configVersion" | "chosen" | "result">;

/** The latest, by request. Kept as texts: hardly any is asked for. */
export class LocalDecisions {
  readonly #texts = new KeptTexts(LOCAL_DECISION_LIMITS);

  get size(): number {
    return this.#texts.size;
  }

  add(commit: LocalCommit, at: { readonly atMs: number; readonly configVersion: number }): void {
    const { requestId, attempt, model, tenant, priority, promptTokens } = commit;
    const before = this.#read(requestId).filter((kept) => kept.attempt !== attempt);
    if (before.length >= LOCAL_ATTEMPTS_MAX) return;
    const facts = { attempt, ...at, model, tenant, priority, promptTokens };
    const totalBlocks = commit.keys.length / 2;
    const kept = { ...facts, totalBlocks, chosen: [...commit.endpoints], result: null };
    this.#texts.add(requestId, JSON.stringify([...before, kept]));
  }

  /** How an attempt went; of one that is not kept it changes nothing. */
  ended(requestId: string, attempt: number, result: DecisionResult): void {
    const kept = this.#read(requestId);
    if (!kept.some((each) => each.attempt === attempt)) return;
    const ended = kept.map((each) => (each.attempt === attempt ? { ...each, result } : each));
    this.#texts.add(requestId, JSON.stringify(ended));
  }

  /** All attempts of a request that are kept. */
  find(requestId: string): RefusedAttempt[] {
    return this.#read(requestId).map((kept) => ({
      ...kept,
      seed: 0,
      staleAfterMs: 0,
      filters: [],
      scorers: [],
      candidateCount: 0,
      candidates: [],
      dropped: null,
    }));
  }

  #read(requestId: string): LocalAttempt[] {
    const text = this.#texts.find(requestId);
    return text === undefined ? [] : (JSON.parse(text) as LocalAttempt[]);
  }
}
