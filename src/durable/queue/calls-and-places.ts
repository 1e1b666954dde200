// How Workers wait for the turn of their picks: by an open call, or with a numbered place.
//
//   place() ──► an open call while there is room, else a numbered place
//                 │ needed by one that is served sooner      ▲
//                 ├──────────────────────────────────────────┘
//                 └ WAIT_CALL_MS: told to ask again at once ──► asked again ──► place()
//
// Which of them have open calls is OpenWaits', and when places ask again AskAgain's. Whose turn it is, and why one
// waits no more, is the queue's: a pick that is away is passed over there.

import type { FlowController } from "../../scheduler/flow-control/flow-controller.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import type { NumberedPlace } from "../contract.ts";
import { AskAgain } from "./ask-again.ts";
import { OpenWaits } from "./open-waits.ts";
import type { WaitingPick } from "./waiting-pick.ts";

/** An open call is answered with a place after about this long: so a Worker knows a lost one. */
export const WAIT_CALL_MS = 60_000;
/** After that a place that nobody has asked for is given up. */
export const PLACE_GRACE_MS = 5_000;

export interface CallsAndPlacesOptions {
  readonly clock: Clock;
  readonly openWaitsMax: number;
  /** Of those that wait, by calls and with places. */
  readonly waitingCount: () => number;
  /** Where they wait for their turn. */
  readonly controller: () => Pick<FlowController, "forecast" | "setAway">;
}

export class CallsAndPlaces {
  readonly #options: CallsAndPlacesOptions;
  readonly #askAgain = new AskAgain();
  readonly #open: OpenWaits;

  constructor(options: CallsAndPlacesOptions) {
    this.#options = options;
    this.#open = new OpenWaits(options.openWaitsMax);
  }

  /** Open calls. */
  get openCount(): number {
    return this.#open.size;
  }

  get placeCount(): number {
    return this.#options.waitingCount() - this.#open.size;
  }

  /** An open call if there is one to be had: then a handle of this `holder` waits for the pick. */
  place(pick: WaitingPick, holder: number): NumberedPlace | WaitingPick {
    const { isOpen, demoted } = this.#open.open(pick);
    demoted?.give(this.#toPlace(demoted));
    if (!isOpen) return this.#toPlace(pick);
    pick.holder = holder;
    // Spread, so that those who came together do not come back together.
    pick.openUntilMs =
      this.#options.clock() + WAIT_CALL_MS * (0.75 + 0.25 * this.#askAgain.fraction());
    return pick;
  }

  /** A call for a pick that waits: it is there again, and this call's. `place` follows, unless its turn has come. */
  askedAgain(pick: WaitingPick, holder: number): void {
    this.#askAgain.asked(this.#options.clock());
    // The call before is of a Worker that has lost it, or of a client that uses an id twice.
    pick.give(this.#numberedPlace(pick));
    pick.renew();
    pick.holder = holder;
    this.#setAway(pick, false);
  }

  /** Its Worker is to call again, at once. */
  sendBack(pick: WaitingPick): void {
    pick.give({ ...this.#numberedPlace(pick), askAgainMs: 0 });
  }

  /** The same of those whose calls have been open for long. */
  renewDue(): void {
    const nowMs = this.#options.clock();
    for (const pick of this.#open) if (pick.openUntilMs <= nowMs) this.#renew(pick);
  }

  /** The same of one whose Worker calls now, so that it can be told something. */
  renewAny(): void {
    const [pick] = this.#open;
    if (pick !== undefined && pick.holder !== 0) this.#renew(pick);
  }

  /** It waits no more. */
  gone(pick: WaitingPick): void {
    this.#open.close(pick);
  }

  /** Until its Worker calls again it is there: its turn may come, and is kept. */
  #renew(pick: WaitingPick): void {
    this.sendBack(pick);
    pick.renew();
    pick.holder = 0;
    pick.openUntilMs = Infinity;
    pick.askByMs = this.#options.clock() + PLACE_GRACE_MS;
  }

  #toPlace(pick: WaitingPick): NumberedPlace {
    this.#open.close(pick);
    pick.holder = 0;
    const place = this.#numberedPlace(pick);
    pick.askByMs = this.#options.clock() + place.askAgainMs + PLACE_GRACE_MS;
    this.#setAway(pick, true);
    return place;
  }

  #numberedPlace({ queued }: WaitingPick): NumberedPlace {
    const { clock, controller } = this.#options;
    const nowMs = clock();
    const forecast = controller().forecast(queued.requestId, queued.attempt, nowMs);
    const { waitMs, ahead } = forecast ?? { waitMs: undefined, ahead: 0 };
    const { placeCount } = this;
    const outlook = { waitMs, ahead, placeCount, coveredAhead: this.#open.max / 2 };
    return { ok: "queued", askAgainMs: this.#askAgain.afterMs(outlook, nowMs), ahead };
  }

  #setAway(pick: WaitingPick, isAway: boolean): void {
    pick.isAway = isAway;
    if (!isAway) pick.askByMs = Infinity;
    this.#options.controller().setAway(pick.queued.requestId, pick.attempt, isAway);
  }
}
