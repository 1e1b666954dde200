// A request that is on its way to where this isolate would have it, while the pool's object is asked about it.
//
//   sent ──asked──► kept         the object has committed it where it is
//          │  └───► called off   the object has granted another endpoint, and counts this one until it is closed
//          └─ no answer ────────► untold: told with the next call, as any other pick of this isolate's
//
// Until then it counts in the replica where it was sent, whatever snapshots come meanwhile.

import type { LocalCommit } from "../../scheduler/edge/contracts.ts";
import type { PoolReplica } from "../../scheduler/edge/pool-replica.ts";
import type { PickRequest } from "../../durable/contract.ts";
import type { Grant } from "../upstream/pool-picks.ts";
import { type CarriedLoad, countLoad } from "./carried-load.ts";
import type { EdgeCalls, EdgeWay } from "./edge-calls.ts";
import { type GrantedParts, localGrant } from "./local-grant.ts";

export interface SentOptions {
  readonly pick: PickRequest;
  readonly load: CarriedLoad;
  readonly commit: Omit<LocalCommit, "decidedAgoMs">;
  readonly parts: GrantedParts;
  readonly replica: PoolReplica;
  readonly calls: Pick<EdgeCalls, "commit" | "end" | "beginWithPick" | "endWithPick">;
  readonly way: EdgeWay;
  readonly nowMs: number;
}

export class SentMeanwhile {
  readonly #options: SentOptions;
  readonly grant: Grant;
  /** Of the dispatch by which it counts in the replica; undefined where a snapshot shows it, or it has ended. */
  #number: number | undefined;
  #isEnded = false;
  #isAsked = false;

  constructor(options: SentOptions) {
    this.#options = options;
    const { pick, load, parts, replica, calls, way, nowMs } = options;
    const { slot, reservedTokens, uncachedTokens } = load;
    const prompt = { promptTokens: pick.request.promptTokens, uncachedTokens };
    this.#number = replica.proposed(slot, reservedTokens, nowMs, prompt);
    this.grant = localGrant(parts, pick.attempt, (end) => {
      this.#isEnded = true;
      if (this.#number !== undefined) replica.released(this.#number);
      calls.end(end, way);
    });
  }

  /** As the object is told of it with the question, which is under way from now on. */
  asked(): LocalCommit {
    const { calls, nowMs } = this.#options;
    if (!this.#isAsked) calls.beginWithPick(nowMs);
    this.#isAsked = true;
    return { ...this.#options.commit, decidedAgoMs: 0 };
  }

  /** Where it was sent. */
  get address(): string {
    return this.#options.commit.endpoints[0]!;
  }

  /** The object has it. `isShown`: in the snapshot that came with that. */
  kept(isShown: boolean, nowMs: number): void {
    const { replica, pick, load } = this.#options;
    this.calledOff();
    // Its slot may be another's by now.
    const isThere = replica.addressOf(load.slot) === this.address;
    if (isThere && !isShown && !this.#isEnded)
      this.#number = countLoad(replica, pick.request, load, nowMs);
  }

  /** It is not known whether the object has it: telling it twice does no harm. */
  untold(nowMs: number): void {
    const { replica, calls, commit, way, nowMs: decidedAtMs } = this.#options;
    this.kept(false, nowMs);
    const number = this.#number ?? replica.lastDispatch;
    calls.commit({ commit, number, decidedAtMs }, way);
  }

  /** Nothing of it is on its way there any more, as far as this isolate knows. */
  calledOff(): void {
    const { replica, calls, nowMs } = this.#options;
    if (this.#number !== undefined) replica.answered(this.#number);
    this.#number = undefined;
    if (this.#isAsked) calls.endWithPick(nowMs);
    this.#isAsked = false;
  }
}
