// Picks as Workers receive them: a grant with the handle that guards it, a wait with the handle that
// tells its end, a numbered place, or a refusal.

import type {
  KeptPick,
  MovedPick,
  NumberedPlace,
  PickGrant,
  PickRefusal,
  PickRequest,
} from "./contract.ts";
import type { EdgeAsked, EdgeDesk } from "./edge/edge-desk.ts";
import { PickHandle } from "./pick-handle.ts";
import type { Picks } from "./picks.ts";
import { type GuardedGrant, WaitHandle } from "./queue/wait-handle.ts";
import { WaitingPick } from "./queue/waiting-pick.ts";

/** A wait and the handle that tells its end. */
interface GuardedWait {
  readonly ok: "queued";
  readonly handle: WaitHandle;
  readonly asksForCapacity?: true;
}

/** What is asked for beside endpoints goes with a grant that has been waited for, too. */
interface Asked extends EdgeAsked {
  readonly holder: number;
}

export type PickAnswer =
  | GuardedGrant
  | GuardedWait
  | PickRefusal
  | NumberedPlace
  | MovedPick
  | KeptPick;

export class PickAnswers {
  readonly #picks: Picks;
  readonly #edge: Pick<EdgeDesk, "withGrant">;
  /** Tells each handle from every other one of the object. */
  #handleCount = 0;

  constructor(picks: Picks, edge: Pick<EdgeDesk, "withGrant">) {
    this.#picks = picks;
    this.#edge = edge;
  }

  pick(request: PickRequest): PickAnswer {
    this.#handleCount += 1;
    const holder = this.#handleCount;
    const answer = this.#picks.pick(request, holder);
    const asked = { holder, edge: request.edge, credit: request.credit };
    if (answer instanceof WaitingPick) return this.#withCapacity(this.#wait(answer, asked));
    if (answer.ok === "queued") return this.#withCapacity(answer);
    if (answer.ok === "kept") return { ...answer, ...this.#edge.withGrant(asked) };
    return answer.ok === true ? this.#guard(answer, asked) : answer;
  }

  #wait(pick: WaitingPick, asked: Asked): GuardedWait {
    const { holder } = asked;
    const handle = new WaitHandle({
      wait: async () => {
        // A later call of the same request has taken the place over.
        if (pick.holder !== holder && pick.untaken === undefined) return AT_ONCE;
        const answer = await pick.wait();
        return answer.ok === true ? this.#guard(answer, asked) : answer;
      },
      dropped: () => this.#dropped(pick, holder),
    });
    return { ok: "queued", handle };
  }

  #guard(grant: PickGrant, asked: Asked): GuardedGrant {
    const handle = new PickHandle(this.#picks.ends, grant.ticket, asked.holder);
    return { ...grant, ...this.#edge.withGrant(asked), handle };
  }

  /** Whoever held the handle has left, or has been answered. */
  #dropped(pick: WaitingPick, holder: number): void {
    this.#picks.admission.queue?.dropped(pick, holder);
    const answer = pick.holder === holder ? pick.take() : undefined;
    if (answer?.ok === true) this.#picks.ends.abandon(answer.ticket, holder);
  }

  #withCapacity<Answer extends GuardedWait | NumberedPlace>(answer: Answer): Answer {
    if (this.#picks.admission.queue?.asksForCapacity() !== true) return answer;
    return { ...answer, asksForCapacity: true };
  }
}

const AT_ONCE: NumberedPlace = { ok: "queued", askAgainMs: 0, ahead: 0 };
