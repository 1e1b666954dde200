// data-parallel-profile-handler: choose a data-parallel rank, and name it.
//
//   one profile, run once; whoever serves is told the rank's own address
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/profilehandler/dataparallel, deprecated
// there: where each rank listens on a port of its own the request can go to it directly. So it does here:
// llm-d sends to primaryPort of the rank's host, for gateways that reach no other port.

import { z } from "zod";
import { OWN_PORT_NOTE } from "../../disaggregation/ranks.ts";
import { defineProfileHandler, type PickContext, type ProfileHandler } from "../../plugin.ts";

const params = z.strictObject({
  primaryPort: z
    .int()
    .min(1)
    .max(65_535)
    .default(8_000)
    .describe("Port of the process that dispatches to the ranks"),
});

const ONE_PROFILE = "data-parallel-profile-handler takes exactly one scheduling profile";
const NOBODY = "no endpoint passed the scheduling profile's filters";

class DataParallelProfileHandler implements ProfileHandler {
  readonly #profiles: readonly string[];
  readonly #primaryPort: number;

  constructor(profiles: readonly string[], primaryPort: number) {
    this.#profiles = profiles;
    this.#primaryPort = primaryPort;
  }

  next({ results }: PickContext): string | undefined {
    const [profile, another] = this.#profiles;
    if (profile === undefined || another !== undefined) return undefined;
    return results.slotOf(profile) === undefined ? profile : undefined;
  }

  finish({ results }: PickContext) {
    const [profile, another] = this.#profiles;
    if (profile === undefined || another !== undefined) return ONE_PROFILE;
    if ((results.slotOf(profile) ?? -1) < 0) return NOBODY;
    return { primary: profile, dataParallelPort: this.#primaryPort };
  }
}

export const dataParallelProfileHandler = defineProfileHandler({
  type: "data-parallel-profile-handler",
  deprecated: "Use single-profile-handler, with one endpoint for each rank.",
  params,
  profilesMax: 1,
  notes: () => [OWN_PORT_NOTE],
  create: ({ primaryPort }, { profiles }) => new DataParallelProfileHandler(profiles, primaryPort),
});
