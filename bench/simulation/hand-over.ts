// A prompt's way from the engine that computes it to the one that goes on with it.
//
//   prefill engine ──computed, held──► router ──► decode engine: blocks taken
//          ▲                                              │ transfer, on the decoder's link
//          └────────────── read: free ────────────────────┘
//
// While a decoder waits for its turn it renews the lease, as vLLM's does. A lease that ends all the same
// makes it compute the prompt itself.

import type { Engine } from "../../src/agents/simulator/model/engine.ts";
import type { Sequence, SequenceContent } from "../../src/agents/simulator/model/sequence.ts";
import { TransferLink, type TransferTiming } from "../../src/agents/simulator/model/transfer.ts";
import type { EventQueue } from "./event-queue.ts";
import type { Flight } from "./flight.ts";

/** As often as vLLM: six times in a lease of 30 s. */
const RENEWAL_MS = 5_000;

/** The prompt of a request, for an engine that computes nothing else of it. */
export class PrefillContent implements SequenceContent<number> {
  readonly flight: Flight;
  readonly isHeld = true;
  readonly outputCount = 1;

  constructor(flight: Flight) {
    this.flight = flight;
  }

  get promptCount(): number {
    return this.flight.promptCount;
  }

  hashes(): Int32Array {
    return this.flight.hashes();
  }
}

interface HeldBy {
  readonly slot: number;
  readonly sequence: Sequence<number>;
}

export interface HandOversOptions {
  readonly queue: EventQueue;
  readonly timing: TransferTiming;
  readonly engines: readonly Engine<number>[];
  /** Sees to it that the engine goes on. */
  readonly wake: (slot: number) => void;
}

export class HandOvers {
  readonly #options: HandOversOptions;
  readonly #links: readonly TransferLink[];
  /** Who holds the prompts that decoders have yet to read. */
  readonly #held = new Map<Flight, HeldBy>();

  constructor(options: HandOversOptions) {
    this.#options = options;
    this.#links = options.engines.map(() => new TransferLink(options.timing));
  }

  /** The prompt is at `slot`, for a while. */
  computed(flight: Flight, held: HeldBy): void {
    flight.isRemote = true;
    this.#held.set(flight, held);
    this.#renewLater(flight);
  }

  /** The decoder at `slot` has blocks for the prompt now. */
  began(sequence: Sequence<number>, slot: number, tokenCount: number): void {
    const { queue, engines, wake } = this.#options;
    const flight = sequence.content as Flight;
    const from = this.#held.get(flight)!;
    const atMs = this.#links[slot]!.begin(String(from.slot), tokenCount, queue.nowMs);
    queue.add(atMs, () => {
      this.#held.delete(flight);
      const isRead = engines[from.slot]!.release(from.sequence, atMs);
      if (isRead) engines[slot]!.received(sequence, atMs);
      else engines[slot]!.notReceived(sequence, "recompute", atMs);
      wake(slot);
      wake(from.slot);
    });
  }

  #renewLater(flight: Flight): void {
    const { queue, engines } = this.#options;
    queue.add(queue.nowMs + RENEWAL_MS, () => {
      const held = this.#held.get(flight);
      if (held === undefined) return;
      if (engines[held.slot]!.renew(held.sequence, queue.nowMs)) this.#renewLater(flight);
    });
  }
}
