// What an answer consists of, chunk by chunk, as far as the engine has come. A source never waits:
// it is asked again when there may be more.

import { encodeUsage, type AnswerHead, type AnswerShape, type Choice } from "./answers.ts";
import type { Sequence } from "./model/sequence.ts";

/** The chunks of one answer. */
export interface AnswerSource {
  readonly contentType: string;
  /** True if headers go out before the first chunk is there. */
  readonly isEager: boolean;
  /** Length of the body; undefined for a stream, and before the first chunk. */
  readonly contentBytes: number | undefined;
  /** The next chunk; undefined while there is none yet, and after the last. */
  next(): string | undefined;
  /** True once `next` has given the last chunk. */
  readonly isDone: boolean;
}

/** A choice and the sequence that generates it. */
export interface ChoiceProgress {
  /** Replaced where it turns out that there is no answer. */
  choice: Choice;
  readonly sequence: Sequence;
  /** True for the first of a prompt's choices: usage counts a prompt once. */
  readonly isFirstOfPrompt: boolean;
}

export interface AnswerPlan {
  readonly head: AnswerHead;
  readonly shape: AnswerShape;
  readonly choices: readonly ChoiceProgress[];
  /** Further members of a whole answer. */
  readonly extras: () => object;
  readonly isUsageIncluded: boolean;
  readonly isUsageContinuous: boolean;
}

/** Tokens of all choices so far. */
export function usageOf(choices: readonly ChoiceProgress[]) {
  let promptTokens = 0;
  let cachedTokens = 0;
  let completionTokens = 0;
  for (const { sequence, isFirstOfPrompt } of choices) {
    completionTokens += sequence.generatedCount;
    if (!isFirstOfPrompt) continue;
    promptTokens += sequence.promptCount;
    cachedTokens += sequence.cachedCount;
  }
  return { promptTokens, cachedTokens, completionTokens };
}

const isComplete = ({ choice, sequence }: ChoiceProgress) =>
  sequence.generatedCount === choice.output.length;

/**
 * Server-sent events. Tokens that came since a choice's last chunk share its next one, so a reader
 * who is slower than the engine gets fewer, larger chunks.
 */
export class StreamSource implements AnswerSource {
  readonly contentType = "text/event-stream; charset=utf-8";
  readonly isEager = true;
  readonly contentBytes = undefined;
  isDone = false;
  readonly #plan: AnswerPlan;
  /** Tokens sent of each choice; undefined before its opening. */
  readonly #sent: (number | undefined)[];
  /** Choices without a token whose only chunk was sent. */
  readonly #closed = new Set<number>();
  #isUsageSent = false;

  constructor(plan: AnswerPlan) {
    this.#plan = plan;
    this.#sent = plan.choices.map(() => undefined);
  }

  next(): string | undefined {
    if (this.isDone) return undefined;
    const { head, shape, choices } = this.#plan;
    for (let i = 0; i < choices.length; i++) {
      const body = this.#nextOf(i);
      if (body !== undefined) return this.#event(body);
    }
    if (!choices.every(isComplete)) return undefined;
    if (this.#plan.isUsageIncluded && !this.#isUsageSent) {
      this.#isUsageSent = true;
      return event({ ...shape.closing(head), usage: encodeUsage(usageOf(choices)) });
    }
    this.isDone = true;
    return "data: [DONE]\n\n";
  }

  #nextOf(index: number): Record<string, unknown> | undefined {
    const { head, shape, choices } = this.#plan;
    const { choice, sequence } = choices[index]!;
    const end = sequence.generatedCount;
    const isEmpty = choice.output.length === 0;
    if (end === 0 && !isEmpty) return undefined;
    if (this.#sent[index] === undefined) {
      this.#sent[index] = 0;
      const opening = shape.opening(head, choice);
      if (opening !== undefined) return opening;
    }
    const start = this.#sent[index]!;
    if (isEmpty && !this.#closed.has(index)) {
      this.#closed.add(index);
      return shape.chunk(head, choice, { start, end });
    }
    if (start === end) return undefined;
    this.#sent[index] = end;
    return shape.chunk(head, choice, { start, end });
  }

  #event(body: Record<string, unknown>): string {
    const { choices, isUsageIncluded, isUsageContinuous } = this.#plan;
    if (!isUsageIncluded || !isUsageContinuous) return event(body);
    return event({ ...body, usage: encodeUsage(usageOf(choices)) });
  }
}

/** One JSON body, when everything is there; in two halves, so that it can fail in the middle. */
export class WholeSource implements AnswerSource {
  readonly contentType = "application/json";
  readonly isEager = false;
  contentBytes: number | undefined;
  readonly #plan: AnswerPlan;
  #rest: string[] | undefined;

  constructor(plan: AnswerPlan) {
    this.#plan = plan;
  }

  get isDone(): boolean {
    return this.#rest?.length === 0;
  }

  next(): string | undefined {
    const { head, shape, choices, extras } = this.#plan;
    if (this.#rest === undefined) {
      if (!choices.every(isComplete)) return undefined;
      const whole = shape.whole(
        head,
        choices.map(({ choice }) => choice),
      );
      const body = JSON.stringify({
        ...whole,
        usage: encodeUsage(usageOf(choices)),
        ...extras(),
      });
      this.contentBytes = Buffer.byteLength(body);
      const middle = Math.floor(body.length / 2);
      // Cut between code points: a lone surrogate would not survive UTF-8.
      const first = body.slice(0, middle).toWellFormed() === body.slice(0, middle);
      const cut = first ? middle : middle + 1;
      this.#rest = [body.slice(0, cut), body.slice(cut)];
    }
    return this.#rest.shift();
  }
}

function event(body: Record<string, unknown>): string {
  return `data: ${JSON.stringify(body)}\n\n`;
}
