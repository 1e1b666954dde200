// When a shard tells its lead what it has, and how long it goes by the answer.
//
//   noticed ──► tell ──250 ms──► tell ──► … while there is work ──► a last word ──► silence
//                 │             └─50 ms where requests wait, here or elsewhere
//                 ▲ hurry: at once, where somebody waits for credit
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

/** How a message ended; also a metric's label. */
export type TellOutcome = "ok" | "failed";

export interface ShardExchangeOptions {
  readonly clock: Clock;
  /** Composes a message and sends it. `isLeaving`: the last one for now. */
  readonly tell: (isLeaving: boolean) => Promise<ShardAnswer & Partial<Disposable>>;
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
  /** The last word has been said. */
  #hasLeft = true;
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
    this.#answeredAtMs = -Infinity;
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
  }

  async #tell(isLeaving: boolean): Promise<void> {
    this.#isUnderWay = true;
    this.#isNoticed = false;
    this.#isHurried = false;
    this.#isPressed = false;
    const askedAtMs = this.#options.clock();
    this.#toldAtMs = askedAtMs;
    try {
      const answer = await this.#call(isLeaving);
      this.#answeredAtMs = askedAtMs;
      this.#hasLeft = isLeaving;
      this.#isSilent = false;
      this.#isPressed ||= answer.isPressed === true;
      this.#options.answered(answer, askedAtMs);
      // An answer that is not disposed keeps the lead in memory.
      answer[Symbol.dispose]?.();
      this.#options.told("ok");
    } catch {
      this.#hasLeft = isLeaving;
      this.#options.told("failed");
    } finally {
      this.#isUnderWay = false;
    }
    if (this.#hasLeft && !this.#isNoticed) return;
    this.#lookAt(askedAtMs + this.#pauseMs);
  }

  get #pauseMs(): number {
    if (this.#isHurried) return HURRY_MS;
    return this.#isPressed ? PRESSED_MS : TELL_EVERY_MS;
  }

  async #call(isLeaving: boolean): Promise<ShardAnswer & Partial<Disposable>> {
    const { promise: deadline, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error("deadline")), TELL_DEADLINE_MS);
    const called = this.#options.tell(isLeaving);
    return Promise.race([called, deadline]).finally(() => clearTimeout(timer));
  }

  #checkLease(): void {
    if (this.#isSilent || this.#options.clock() - this.#answeredAtMs < SHARD_LEASE_MS) return;
    this.#isSilent = true;
    this.#options.silent();
  }
}
