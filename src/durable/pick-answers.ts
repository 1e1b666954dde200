// Picks as Workers receive them: a grant with the handle that guards it, a wait with the handle that
// tells its end, a numbered place, or a refusal.

import type {
  MovedPick,
  NumberedPlace,
  PickGrant,
  PickRefusal,
  PickRequest,
  PoolSnapshot,
} from "./contract.ts";
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

interface Asked {
  readonly holder: number;
  /** Also of a grant that has been waited for: a pool that is always full must not lose it. */
  readonly wantsSnapshot: boolean;
}

export type PickAnswer = GuardedGrant | GuardedWait | PickRefusal | NumberedPlace | MovedPick;

export class PickAnswers {
  readonly #picks: Picks;
  readonly #snapshot: () => PoolSnapshot;
  /** Tells each handle from every other one of the object. */
  #handleCount = 0;

  constructor(picks: Picks, snapshot: () => PoolSnapshot) {
    this.#picks = picks;
    this.#snapshot = snapshot;
  }

  pick(request: PickRequest): PickAnswer {
    this.#handleCount += 1;
    const holder = this.#handleCount;
    const answer = this.#picks.pick(request, holder);
    const asked = { holder, wantsSnapshot: request.wantsSnapshot === true };
    if (answer instanceof WaitingPick) return this.#withCapacity(this.#wait(answer, asked));
    if (answer.ok === "queued") return this.#withCapacity(answer);
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

  #guard(grant: PickGrant, { holder, wantsSnapshot }: Asked): GuardedGrant {
    const handle = new PickHandle(this.#picks.ends, grant.ticket, holder);
    const guarded = { ...grant, handle };
    return wantsSnapshot ? { ...guarded, snapshot: this.#snapshot() } : guarded;
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
