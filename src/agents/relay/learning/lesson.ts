// What one request teaches: its prompt, and with its answer the conversation that the next turn will begin with.
//
//   first byte ──begin──► the prompt, if it is new ──waited long enough──► learned alone
//   chunks     ──keep───► references                          │
//   end        ──end────► short, unended? ────────────────────┴──no──► learned with its answer
//
// The conversation begins with the prompt, so one question to the engine serves for both where the answer ends soon.
// Nothing here reads what it keeps.

import { CONTENT_BLOCK_BYTES } from "../../../scheduler/kv/content-keys.ts";
import type { LearnRequest } from "./learn-prompt.ts";
import type { AnswerOutcome } from "./outcomes.ts";

export const LESSON_LIMITS = {
  /** As engines send it: some 5,000 tokens of a stream, or 250,000 of an answer that is whole. */
  answerBytesMax: 1024 * 1024,
  /** Of all answers of a relay that have not ended. */
  heldBytesMax: 64 * 1024 * 1024,
} as const;

/** A chunk's, besides its bytes: the objects that stand for it. */
const CHUNK_COST_BYTES = 256;
/** A chunk in a buffer of more than so many times its size is copied. */
const LONE_BUFFER_MAX = 4;
/** A shorter body is computed again in some 60 ms: it can wait as long as a request that was just sent counts. */
const SHORT_BODY_BYTES = 4 * 1024;
const SHORT_WAIT_MS = 2_000;
const WAIT_MS = 250;
/** Fewer have no block's bytes, in nearly all texts. */
const TOKENS_MIN = 16;

/** What the lessons of a relay hold together. */
export interface HeldAnswers {
  bytes: number;
}

export interface LessonOptions {
  readonly request: LearnRequest;
  readonly isPromptNew: boolean;
  readonly held: HeldAnswers;
  /** Learns the prompt, the conversation with the answer, or both. Called once for each at most. */
  readonly learn: (what: { readonly isPromptNew: boolean; readonly answer?: Uint8Array }) => void;
  readonly onAnswer: (outcome: AnswerOutcome) => void;
  /** Before a prompt is learned alone; by its length if absent. */
  readonly waitMs?: number;
}

/** How an answer ended. */
export interface AnswerEnd {
  /** All of it has come, and it is no error. */
  readonly isWhole: boolean;
  readonly completionTokens: number | null;
}

export class Lesson {
  readonly #options: LessonOptions;
  #isPromptNew: boolean;
  #timer: NodeJS.Timeout | undefined;
  #chunks: Uint8Array[] = [];
  /** Why the answer is not kept any more. */
  #dropped: AnswerOutcome | undefined;
  #answerBytes = 0;
  #heldBytes = 0;

  constructor(options: LessonOptions) {
    this.#options = options;
    const { isPromptNew, request } = options;
    this.#isPromptNew = isPromptNew;
    if (!isPromptNew) return;
    const { waitMs = request.body.byteLength <= SHORT_BODY_BYTES ? SHORT_WAIT_MS : WAIT_MS } =
      options;
    this.#timer = setTimeout(() => this.#learnPrompt(), waitMs);
  }

  /** The next bytes of the answer, as the engine sent them. */
  // Hot path: every chunk of every stream.
  keep(chunk: Uint8Array): void {
    if (this.#dropped !== undefined) return;
    const { held } = this.#options;
    this.#answerBytes += chunk.byteLength;
    const more = CHUNK_COST_BYTES + chunk.byteLength;
    if (this.#answerBytes > LESSON_LIMITS.answerBytesMax) return this.drop("too-large");
    if (held.bytes + more > LESSON_LIMITS.heldBytesMax) return this.drop("full");
    this.#heldBytes += more;
    held.bytes += more;
    // What was read from a socket in one may be a small part of 64 KiB.
    const isLone = chunk.buffer.byteLength <= LONE_BUFFER_MAX * chunk.byteLength;
    this.#chunks.push(isLone ? chunk : new Uint8Array(chunk));
  }

  /** Does without the answer. */
  drop(why: AnswerOutcome): void {
    this.#dropped ??= why;
    this.#release();
  }

  /** Once, whatever came. */
  end(end: AnswerEnd): void {
    clearTimeout(this.#timer);
    const outcome = this.#dropped ?? this.#judge(end);
    if (outcome === undefined) {
      const answer = this.#joined();
      this.#options.learn({ isPromptNew: this.#isPromptNew, answer });
    } else {
      this.#options.onAnswer(outcome);
      this.#learnPrompt();
    }
    this.#release();
  }

  #judge({ isWhole, completionTokens }: AnswerEnd): AnswerOutcome | undefined {
    if (!isWhole) return "unended";
    const isShort = this.#answerBytes < CONTENT_BLOCK_BYTES;
    return isShort || (completionTokens ?? TOKENS_MIN) < TOKENS_MIN ? "short" : undefined;
  }

  #learnPrompt(): void {
    if (!this.#isPromptNew) return;
    this.#isPromptNew = false;
    this.#options.learn({ isPromptNew: true });
  }

  /** A copy with memory of its own, which goes to the thread as it is. */
  #joined(): Uint8Array {
    const joined = new Uint8Array(this.#answerBytes);
    let at = 0;
    for (const chunk of this.#chunks) {
      joined.set(chunk, at);
      at += chunk.byteLength;
    }
    return joined;
  }

  #release(): void {
    this.#options.held.bytes -= this.#heldBytes;
    this.#heldBytes = 0;
    this.#chunks = [];
  }
}
