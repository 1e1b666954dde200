// Which of those that wait do so as open calls. An open call costs the process about 45 kB by itself, so there is
// room for `max`; the others hold numbered places.
//
// Whoever is likely to be served sooner gets the call: a higher priority before a lower one, and within
// a priority the flow that has fewer. So the next request of every flow is there when its turn comes,
// however many requests one flow has.

import type { WaitingPick } from "./waiting-pick.ts";

interface OpenFlow {
  readonly priority: number;
  /** In the order they were opened. */
  readonly picks: Set<WaitingPick>;
}

/** The call is given; `demoted` loses its own for it. */
export interface Opened {
  readonly isOpen: boolean;
  readonly demoted?: WaitingPick;
}

export class OpenWaits {
  readonly max: number;
  readonly #flows = new Map<string, OpenFlow>();
  #size = 0;

  constructor(max: number) {
    this.max = max;
  }

  get size(): number {
    return this.#size;
  }

  *[Symbol.iterator](): Generator<WaitingPick> {
    for (const { picks } of this.#flows.values()) yield* picks;
  }

  has(pick: WaitingPick): boolean {
    return this.#flows.get(flowKey(pick))?.picks.has(pick) === true;
  }

  /** O(1) while there is room, else O(flows that have open calls). */
  open(pick: WaitingPick): Opened {
    if (this.has(pick)) return { isOpen: true };
    const demoted = this.#size < this.max ? undefined : this.#lastFor(pick);
    if (this.#size >= this.max && demoted === undefined) return { isOpen: false };
    if (demoted !== undefined) this.close(demoted);
    this.#add(pick);
    return demoted === undefined ? { isOpen: true } : { isOpen: true, demoted };
  }

  close(pick: WaitingPick): void {
    const key = flowKey(pick);
    const flow = this.#flows.get(key);
    if (flow?.picks.delete(pick) !== true) return;
    this.#size -= 1;
    if (flow.picks.size === 0) this.#flows.delete(key);
  }

  #add(pick: WaitingPick): void {
    const key = flowKey(pick);
    const flow = this.#flows.get(key) ?? { priority: pick.queued.priority, picks: new Set() };
    this.#flows.set(key, flow);
    flow.picks.add(pick);
    this.#size += 1;
  }

  /** Who gives way to `pick`; undefined where nobody is likely to be served later. */
  #lastFor(pick: WaitingPick): WaitingPick | undefined {
    const own = this.#flows.get(flowKey(pick));
    let worst: OpenFlow | undefined;
    for (const flow of this.#flows.values()) {
      if (worst === undefined || isServedLater(flow, worst)) worst = flow;
    }
    if (worst === undefined || worst.priority > pick.queued.priority) return undefined;
    const isLower = worst.priority < pick.queued.priority;
    const isFair = isLower || worst.picks.size > (own?.picks.size ?? 0) + 1;
    if (worst !== own && isFair) return latest(worst.picks);
    if (own === undefined) return undefined;
    // Of one flow who came first.
    const last = latest(own.picks);
    return isOlder(pick, last) ? last : undefined;
  }
}

function isServedLater(a: OpenFlow, b: OpenFlow): boolean {
  return a.priority === b.priority ? a.picks.size > b.picks.size : a.priority < b.priority;
}

function isOlder(a: WaitingPick, b: WaitingPick): boolean {
  const apartMs = a.queued.receivedAtMs - b.queued.receivedAtMs;
  return apartMs === 0 ? a.sequence < b.sequence : apartMs < 0;
}

/** O(calls of the flow). */
function latest(picks: ReadonlySet<WaitingPick>): WaitingPick {
  let last: WaitingPick | undefined;
  for (const pick of picks) if (last === undefined || isOlder(last, pick)) last = pick;
  return last!;
}

function flowKey({ queued }: WaitingPick): string {
  return `${queued.priority}/${queued.fairnessId}`;
}
