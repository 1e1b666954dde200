// KV frames that have come, and what waits of them so that calls have their turn.
//
//   frame ──► the slice has room, and nothing waits ──► KvFeeds
//     └─────► waits ────── a timer later, a slice ──────► KvFeeds, and its credit
//
// The runtime looks for what has come over the network only when nothing in the process is ready to run.
// Frames that come together are all ready, and so is whatever hands itself on by promises, messages or calls
// to itself: a pick then waits for all of it. Only a timer lets it in (decision 063 has the figures), so
// one stands between any two slices.
//
// Of one collector everything is in order, what it offers as well. What waits is not credited: a window bounds it, and
// an object that dies has not confirmed it.

import type { KvSection } from "../../agents/protocol/kv-frames.ts";
import type { OfferedEndpoints } from "../agent-frames.ts";
import type { KvFeeds } from "./kv-feeds.ts";

export const KV_INTAKE_LIMITS = {
  /** Keys between two timers: a full frame, half a millisecond to one. */
  sliceKeys: 4_096,
  /** Of all collectors: eight windows. Beyond it frames are applied as they come, and calls wait. */
  waitingBytesMax: 4 * 1024 * 1024,
} as const;
/** What an offered endpoint that waits counts for: a bound, not a measure. */
const OFFERED_BYTES = 64;

export interface KvIntakeOptions {
  readonly feeds: Pick<KvFeeds, "received" | "offered" | "lost" | "disconnected">;
  /** Calls back when others have had their turn. */
  readonly defer: (callback: () => void) => void;
  readonly limits?: Readonly<Record<keyof typeof KV_INTAKE_LIMITS, number>>;
}

interface Waiting {
  readonly agent: string;
  readonly keys: number;
  readonly bytes: number;
  readonly apply: () => void;
  readonly isOffer: boolean;
}

export class KvIntake {
  readonly #options: KvIntakeOptions;
  readonly #limits: Readonly<Record<keyof typeof KV_INTAKE_LIMITS, number>>;
  /** In the order in which they came, from #head on. */
  #waiting: Waiting[] = [];
  #head = 0;
  #waitingBytes = 0;
  /** Applied since the last timer. */
  #sliceKeys = 0;
  #isDeferred = false;

  constructor(options: KvIntakeOptions) {
    this.#options = options;
    this.#limits = options.limits ?? KV_INTAKE_LIMITS;
  }

  /** See KvFeeds. */
  received(
    agent: string,
    sections: readonly KvSection[],
    frame: { seq: number; bytes: number },
  ): void {
    let keys = 0;
    for (const section of sections) keys += section.keys.length / 2;
    const apply = () => this.#options.feeds.received(agent, sections, frame);
    this.#take({ agent, keys, bytes: frame.bytes, apply, isOffer: false });
  }

  /** See KvFeeds: behind the frames that make it so. */
  offered(agent: string, offer: OfferedEndpoints): void {
    const apply = () => this.#options.feeds.offered(agent, offer);
    const bytes = OFFERED_BYTES * (1 + offer.whole.length + offer.partial.length);
    this.#take({ agent, keys: 0, bytes, apply, isOffer: true });
  }

  /** See KvFeeds. What waits is of streams that are over now; it counts as lost, too. */
  lost(agent: string, seq: number): void {
    const offer = this.#waiting.findLast(
      (each, at) => at >= this.#head && each.agent === agent && each.isOffer,
    );
    this.#forget(agent);
    offer?.apply();
    this.#options.feeds.lost(agent, seq);
  }

  /** See KvFeeds. */
  disconnected(agent: string): void {
    this.#forget(agent);
    this.#options.feeds.disconnected(agent);
  }

  #take(item: Waiting): void {
    if (this.#head === this.#waiting.length && this.#hasRoom(item)) {
      this.#apply(item);
      return;
    }
    this.#waiting.push(item);
    this.#waitingBytes += item.bytes;
    while (this.#waitingBytes > this.#limits.waitingBytesMax) this.#applyNext();
  }

  /** One that is larger than a slice is a slice of its own. */
  #hasRoom({ keys }: Waiting): boolean {
    return this.#sliceKeys === 0 || this.#sliceKeys + keys <= this.#limits.sliceKeys;
  }

  #applyNext(): void {
    const item = this.#waiting[this.#head++]!;
    this.#waitingBytes -= item.bytes;
    if (this.#head === this.#waiting.length) {
      this.#waiting = [];
      this.#head = 0;
    }
    this.#apply(item);
  }

  #apply({ keys, apply }: Waiting): void {
    this.#sliceKeys += keys;
    if (!this.#isDeferred && this.#sliceKeys > 0) {
      this.#isDeferred = true;
      this.#options.defer(() => this.#turn());
    }
    apply();
  }

  /** Others have had their turn. */
  #turn(): void {
    this.#isDeferred = false;
    this.#sliceKeys = 0;
    while (this.#head < this.#waiting.length && this.#hasRoom(this.#waiting[this.#head]!)) {
      this.#applyNext();
    }
  }

  #forget(agent: string): void {
    if (this.#head === this.#waiting.length) return;
    this.#waiting = this.#waiting.slice(this.#head).filter((each) => each.agent !== agent);
    this.#head = 0;
    this.#waitingBytes = this.#waiting.reduce((sum, { bytes }) => sum + bytes, 0);
  }
}
