// Tells the pool's object which answers have begun, where it wants to know. Best effort: what cannot
// be sent now is dropped, because everything is told again after the next `configure`, and a request
// that is to be evicted although it has begun is told again at once.

import { encodeFrame, FRAME, type FramePlace } from "../protocol/codec.ts";
import { PROTOCOL_LIMITS } from "../protocol/limits.ts";
import type { StartedTicket } from "../protocol/messages.ts";

/** How long beginnings gather into one frame. Most answers that are no stream end within it. */
export const GATHER_MS = 10;

/** The part of a session that is needed here. */
interface StartedSender {
  send(encode: (place: FramePlace) => Uint8Array): boolean;
}

export class StartedReports {
  #sender: StartedSender | undefined;
  #isWanted = false;
  /** Not told yet. At most as many as the relay carries, because those that end leave. */
  readonly #waiting = new Map<string, StartedTicket>();
  #timer: NodeJS.Timeout | undefined;

  attach(sender: StartedSender): void {
    this.#sender = sender;
  }

  /** The object wants to know, or no longer; `begun` are all that have. */
  configure(isWanted: boolean, begun: readonly StartedTicket[]): void {
    this.#isWanted = isWanted;
    if (!isWanted) this.#waiting.clear();
    for (const ticket of begun) this.add(ticket);
  }

  /** An answer has begun. */
  add({ ticket, attempt }: StartedTicket): void {
    if (!this.#isWanted) return;
    this.#waiting.set(keyOf(ticket, attempt), { ticket, attempt });
    this.#timer ??= setTimeout(() => this.#flush(), GATHER_MS);
  }

  /** A request has ended, of which a report tells. */
  ended({ ticket, attempt }: StartedTicket): void {
    this.#waiting.delete(keyOf(ticket, attempt));
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#sender = undefined;
  }

  #flush(): void {
    this.#timer = undefined;
    const tickets = [...this.#waiting.values()];
    this.#waiting.clear();
    const { startedTicketsMax } = PROTOCOL_LIMITS;
    for (let from = 0; from < tickets.length; from += startedTicketsMax) {
      const part = { tickets: tickets.slice(from, from + startedTicketsMax) };
      const payload = Buffer.from(JSON.stringify(part));
      this.#sender?.send((place) => encodeFrame({ ...place, type: FRAME.started }, payload));
    }
  }
}

function keyOf(ticket: string, attempt: number): string {
  return `${attempt} ${ticket}`;
}
