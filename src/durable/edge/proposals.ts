// Isolates' proposals of where to send what they ask about, as the object's picks take them.

import type { EndpointPicker, PickInput } from "../../scheduler/endpoint-picker.ts";
import { ENDPOINTS_MAX } from "../../scheduler/model/endpoint-table.ts";
import { type Slack, spareForProposed } from "../../scheduler/edge/proposed-endpoint.ts";

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
    if (slot === undefined || picker.profileCount > 1 || !picker.maySpare(input)) return undefined;
    const { endpoints: columns, nowMs, staleAfterMs, request, prefixSources } = input;
    const match = (): Int32Array => {
      const { exact, approximate } = prefixSources;
      if (exact === undefined) approximate(request.keys, this.#matched);
      else exact(request.keys, this.#matched, NO_TIERS);
      return this.#matched;
    };
    const view = { columns, nowMs, staleAfterMs };
    const spared = this.#spared;
    return spareForProposed(view, slot, match, { spared, slack }) ? spared : undefined;
  }
}
