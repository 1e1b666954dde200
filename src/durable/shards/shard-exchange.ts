// When a shard tells its lead what it has, and how long it goes by the answer.
//
//   noticed ──► tell ──250 ms──► tell ──► … while there is work ──► a last word ──► silence
//                 │             └─50 ms where requests wait, here or elsewhere
//                 ▲ hurry: at once, where somebody waits for credit
//
// After the last answer a timer is left until it ends: what was told of the others is taken back then, also
// where nothing happens any more. A last word that is not heard is said again, ever later.
//
// Whoever notices something sets a timer and no more, so a pick never waits for it. One message at a time. The
// lead goes the same way, to itself.

import type { Clock } from "../../scheduler/support/clock.ts";
import type { ShardAnswer } from "./contract.ts";
import { SHARD_LEASE_MS } from "./members.ts";

/** Between two messages of a shard with work. */
export const TELL_EVERY_MS = 250;
/** Between two where requests wait in some shard. */
export const PRESSED_MS = 50;
/** Between two where credit is wanted. */
export const HURRY_MS = 10;
/** A message that takes longer is taken for lost. */
export const TELL_DEADLINE_MS = 1_000;
/**
 * So often a last word is said that nobody hears, each time after a pause twice as long, for RESERVED_MS in
 * all: then nothing is kept any more for a shard that has fallen silent.
 */
export const LAST_WORDS_MAX = 8;

/** How a message ended; also a metric's label. */
export type TellOutcome = "ok" | "failed";

type Answer = ShardAnswer & Partial<Disposable>;

export interface ShardExchangeOptions {
  readonly clock: Clock;
  /** Composes a message and sends it. `isLeaving`: the last one for now. Undefined: it was not to the lead. */
  readonly tell: (isLeaving: boolean) => Promise<Answer | undefined>;
  readonly isBusy: () => boolean;
  /** `askedAtMs`: when the message was composed. */
  readonly answered: (answer: ShardAnswer, askedAtMs: number) => void;
  /** The lead has not answered for SHARD_LEASE_MS, or nothing was asked. */
  readonly silent: () => void;
  readonly told: (outcome: TellOutcome) => void;
}

export class ShardExchange {
  readonly #options: ShardExchangeOptions;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #timerAtMs = Infinity;
  #isUnderWay = false;
  /** Since the last message. */
  #isNoticed = false;
  #isHurried = false;
  #isPressed = false;
  /** The last word has been said, and heard or given up. */
  #hasLeft = true;
  /** Last words in turn that nobody has heard. */
  #unheard = 0;
  /** Rises with each stop: a message of the time before says nothing any more. */
  #generation = 0;
  #toldAtMs = -Infinity;
  #answeredAtMs = -Infinity;
  #isSilent = true;

  constructor(options: ShardExchangeOptions) {
    this.#options = options;
  }

  /** Something has happened here. O(1). */
  noticed(): void {
    this.#isNoticed = true;
    this.#lookAt(this.#toldAtMs + TELL_EVERY_MS);
    this.#checkLease();
  }

  /** Somebody waits for the answer. O(1). */
  hurry(): void {
    this.#isNoticed = true;
    this.#isHurried = true;
    this.#lookAt(this.#toldAtMs + HURRY_MS);
  }

  /** Requests wait, here or in another shard. O(1). */
  press(): void {
    this.#isPressed = true;
    this.#lookAt(this.#toldAtMs + PRESSED_MS);
  }

  /** It is one of several no more. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timerAtMs = Infinity;
    this.#generation += 1;
    this.#answeredAtMs = -Infinity;
    this.#isUnderWay = false;
    this.#hasLeft = true;
    this.#isNoticed = false;
    this.#checkLease();
  }

  #lookAt(atMs: number): void {
    if (this.#isUnderWay || atMs >= this.#timerAtMs) return;
    clearTimeout(this.#timer);
    this.#timerAtMs = atMs;
    this.#timer = setTimeout(() => this.#look(), Math.max(0, atMs - this.#options.clock()));
  }

  #look(): void {
    this.#timerAtMs = Infinity;
    this.#checkLease();
    const goesOn = this.#isNoticed || this.#options.isBusy();
    if (goesOn || !this.#hasLeft) void this.#tell(!goesOn);
    else this.#awaitSilence();
  }

  async #tell(isLeaving: boolean): Promise<void> {
    this.#isUnderWay = true;
    this.#isNoticed = false;
    this.#isHurried = false;
    this.#isPressed = false;
    const generation = this.#generation;
    const askedAtMs = this.#options.clock();
    this.#toldAtMs = askedAtMs;
    const isHeard = await this.#ask(isLeaving, askedAtMs);
    this.#options.told(isHeard ? "ok" : "failed");
    if (generation !== this.#generation) return;
    this.#isUnderWay = false;
    this.#unheard = isLeaving && !isHeard ? this.#unheard + 1 : 0;
    this.#hasLeft = isLeaving && (isHeard || this.#unheard === LAST_WORDS_MAX);
    if (this.#hasLeft && !this.#isNoticed) this.#awaitSilence();
    else this.#lookAt(askedAtMs + this.#pauseMs);
  }

  /** False where there was no answer, or none that could be taken. */
  async #ask(isLeaving: boolean, askedAtMs: number): Promise<boolean> {
    const generation = this.#generation;
    let answer: Answer | undefined;
    try {
      answer = await this.#call(isLeaving);
      if (answer === undefined) return false;
      if (generation !== this.#generation) return true;
      this.#answeredAtMs = askedAtMs;
      this.#isSilent = false;
      this.#isPressed ||= answer.isPressed === true;
      this.#options.answered(answer, askedAtMs);
      return true;
    } catch {
      return false;
    } finally {
      dispose(answer);
    }
  }

  /** What was told is taken back when its time is over, if nothing comes before. */
  #awaitSilence(): void {
    if (!this.#isSilent) this.#lookAt(this.#answeredAtMs + SHARD_LEASE_MS);
  }

  get #pauseMs(): number {
    if (this.#isHurried) return HURRY_MS;
    return this.#isPressed ? PRESSED_MS : TELL_EVERY_MS * 2 ** this.#unheard;
  }

  async #call(isLeaving: boolean): Promise<Answer | undefined> {
    const { promise: deadline, reject } = Promise.withResolvers<never>();
    const called = this.#options.tell(isLeaving);
    const timer = setTimeout(() => {
      called.then(dispose, () => undefined);
      reject(new Error("deadline"));
    }, TELL_DEADLINE_MS);
    return Promise.race([called, deadline]).finally(() => clearTimeout(timer));
  }

  #checkLease(): void {
    if (this.#isSilent || this.#options.clock() - this.#answeredAtMs < SHARD_LEASE_MS) return;
    this.#isSilent = true;
    this.#options.silent();
  }
}

/** An answer that is not disposed keeps the lead in memory. */
function dispose(answer: Answer | undefined): void {
  answer?.[Symbol.dispose]?.();
}
