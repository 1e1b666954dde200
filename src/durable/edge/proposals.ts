// Whom the object's picks spare: for the endpoint that an isolate has proposed, or for the pool's other objects.

import type { EndpointPicker, PickInput } from "../../scheduler/endpoint-picker.ts";
import type { LoadView } from "../../scheduler/edge/idle.ts";
import { ENDPOINTS_MAX } from "../../scheduler/model/endpoint-table.ts";
import { type Slack, spareForProposed } from "../../scheduler/edge/proposed-endpoint.ts";
import { spareForLane } from "../../scheduler/shards/lane.ts";

const NO_TIERS: ReadonlyMap<string, Int32Array> = new Map();

export class Proposals {
  readonly #matched = new Int32Array(ENDPOINTS_MAX);
  readonly #spared = new Uint8Array(ENDPOINTS_MAX);

  /**
   * Whom a pick spares for the endpoint in `slot`; valid until the next call. Undefined: it picks among all, as it does where
   * there are several profiles, and the proposal is of one of them, and where it may spare nobody.
   */
  // Hot path.
  sparedFor(
    picker: Pick<EndpointPicker, "profileCount" | "maySpare">,
    { slot, slack }: { readonly slot: number | undefined; readonly slack: Slack },
    input: PickInput,
  ): Uint8Array | undefined {
    if (slot === undefined || !maySpare(picker, input)) return undefined;
    const spared = this.#spared;
    const match = () => this.#match(input);
    return spareForProposed(viewOf(input), slot, match, { spared, slack }) ? spared : undefined;
  }

  /** The same for the endpoints of a lane, which has a 1 for each by slot; nobody is spared without one. */
  // Hot path.
  sparedForLane(
    picker: Pick<EndpointPicker, "profileCount" | "maySpare" | "keepsUsable">,
    isInLane: Uint8Array | undefined,
    input: PickInput,
  ): Uint8Array | undefined {
    // Whom something else leaves out may be all that is good of a lane.
    const isNarrowed = (input.exclude?.length ?? 0) > 0 || input.request.subset !== undefined;
    if (isInLane === undefined || isNarrowed || !picker.keepsUsable) return undefined;
    if (!maySpare(picker, input)) return undefined;
    const spared = this.#spared;
    const match = () => this.#match(input);
    return spareForLane(viewOf(input), isInLane, match, spared) ? spared : undefined;
  }

  #match({ request, prefixSources: { exact, approximate } }: PickInput): Int32Array {
    if (exact === undefined) approximate(request.keys, this.#matched);
    else exact(request.keys, this.#matched, NO_TIERS);
    return this.#matched;
  }
}

function maySpare(
  picker: Pick<EndpointPicker, "profileCount" | "maySpare">,
  input: PickInput,
): boolean {
  return picker.profileCount === 1 && picker.maySpare(input);
}

function viewOf({ endpoints: columns, nowMs, staleAfterMs }: PickInput): LoadView {
  return { columns, nowMs, staleAfterMs };
}
