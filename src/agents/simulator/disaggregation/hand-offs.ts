// Where prefillers and decoders of one process meet. A prompt is offered under a name; whoever claims the
// name may read its blocks, as long as they are held.
//
//   offer ──computed──► held ──done──► gone
//     │                  └──lease──► gone        a claim for what is gone is refused
//     └──withdrawn──────────────────► gone
//
// A claim may come before the offer, where the two legs begin together: it waits. Names last as long as an
// offer or a claim does, and no longer.

import { clearTimeout, setTimeout } from "node:timers";

/** Names in use at once; more are refused. Beyond what one process of engines can run. */
export const NAMES_MAX = 65_536;

/** A prompt whose blocks are there. */
export interface HeldPrompt {
  readonly tokens: number;
  readonly blockIds: readonly number[];
  /** False if the blocks are not held any more. */
  renew(): boolean;
  release(): boolean;
}

/** The prefiller's end of a name. */
export interface Offer {
  /** Resolves when a decoder has come; false if none did in time. */
  met(timeoutMs: number, signal: AbortSignal): Promise<boolean>;
  /** The prompt is there. */
  computed(prompt: HeldPrompt): void;
  /** It will not come, or is gone. */
  withdraw(): void;
}

export interface ClaimRequest {
  readonly name: string;
  /** What the decoder was told it would find; undefined where nothing was told. */
  readonly blockIds: readonly number[] | undefined;
  /** How long to wait for an offer and for its prompt; 0: only what is there. */
  readonly waitMs: number;
  readonly signal: AbortSignal;
}

export type Claimed =
  | { readonly ok: true; readonly tokens: number }
  | { readonly ok: false; readonly why: "unknown" | "late" | "gone" | "other-blocks" | "full" };

interface Meeting {
  readonly decoder: PromiseWithResolvers<void>;
  /** Undefined: it will not come. */
  readonly prompt: PromiseWithResolvers<HeldPrompt | undefined>;
  held: HeldPrompt | undefined;
  isOffered: boolean;
  claimCount: number;
}

export class HandOffs {
  readonly #meetings = new Map<string, Meeting>();

  /** Names in use. */
  get size(): number {
    return this.#meetings.size;
  }

  /** Undefined if the name is taken, or there are too many. */
  offer(name: string): Offer | undefined {
    const meeting = this.#meeting(name);
    if (meeting === undefined || meeting.isOffered) return undefined;
    meeting.isOffered = true;
    return {
      met: async (timeoutMs, signal) =>
        (await within(
          meeting.decoder.promise.then(() => true),
          timeoutMs,
          signal,
        )) === true,
      computed(prompt) {
        meeting.held = prompt;
        meeting.prompt.resolve(prompt);
      },
      withdraw: () => {
        meeting.prompt.resolve(undefined);
        if (this.#meetings.get(name) === meeting) this.#meetings.delete(name);
      },
    };
  }

  async claim({ name, blockIds, waitMs, signal }: ClaimRequest): Promise<Claimed> {
    if (waitMs === 0 && !this.#meetings.has(name)) return { ok: false, why: "unknown" };
    const meeting = this.#meeting(name);
    if (meeting === undefined) return { ok: false, why: "full" };
    meeting.claimCount++;
    meeting.decoder.resolve();
    const prompt = await within(meeting.prompt.promise, waitMs, signal);
    meeting.claimCount--;
    const isLeft = meeting.claimCount === 0 && !meeting.isOffered;
    if (isLeft && this.#meetings.get(name) === meeting) this.#meetings.delete(name);
    if (prompt === LATE) return { ok: false, why: "late" };
    if (prompt === undefined || !prompt.renew()) return { ok: false, why: "gone" };
    if (blockIds !== undefined && !isSame(blockIds, prompt.blockIds)) {
      return { ok: false, why: "other-blocks" };
    }
    return { ok: true, tokens: prompt.tokens };
  }

  /** A decoder that waits for its turn still wants it. */
  renew(name: string): boolean {
    return this.#meetings.get(name)?.held?.renew() === true;
  }

  /** The decoder has read it, or wants it no more. False if it was gone before. */
  done(name: string): boolean {
    return this.#meetings.get(name)?.held?.release() === true;
  }

  #meeting(name: string): Meeting | undefined {
    const known = this.#meetings.get(name);
    if (known !== undefined) return known;
    if (this.#meetings.size >= NAMES_MAX) return undefined;
    const meeting: Meeting = {
      decoder: Promise.withResolvers<void>(),
      prompt: Promise.withResolvers<HeldPrompt | undefined>(),
      held: undefined,
      isOffered: false,
      claimCount: 0,
    };
    this.#meetings.set(name, meeting);
    return meeting;
  }
}

const LATE = Symbol("late");

/** LATE when it takes longer than `timeoutMs`, or nobody wants it any more. */
async function within<T>(
  pending: Promise<T>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<T | typeof LATE> {
  const late = Promise.withResolvers<typeof LATE>();
  const giveUp = () => late.resolve(LATE);
  const timer = setTimeout(giveUp, timeoutMs);
  signal.addEventListener("abort", giveUp, { once: true });
  if (signal.aborted) giveUp();
  try {
    return await Promise.race([pending, late.promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", giveUp);
  }
}

function isSame(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}
