// single-profile-handler: one profile, run once.
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/profilehandler/single. A configuration
// with several profiles is refused when it is read. Where the profile finds nobody the request is
// turned away as saturated, as in llm-d.

import { z } from "zod";
import { defineProfileHandler, type PickContext, type ProfileHandler } from "../../plugin.ts";

class SingleProfileHandler implements ProfileHandler {
  readonly #profile: string;

  constructor(profile: string) {
    this.#profile = profile;
  }

  next({ results }: PickContext): string | undefined {
    return results.slotOf(this.#profile) === undefined ? this.#profile : undefined;
  }

  finish({ results }: PickContext) {
    return results.slotOf(this.#profile)! >= 0
      ? { primary: this.#profile }
      : "no endpoint passed the scheduling profile's filters";
  }
}

export const singleProfileHandler = defineProfileHandler({
  type: "single-profile-handler",
  params: z.strictObject({}),
  create: (_params, { profiles }) => new SingleProfileHandler(profiles[0]!),
});
