// header-profile-handler: run the profile that a header of the request names.
//
//   profile = the header's value; without one defaultProfile, or the only profile where there is one
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/profilehandler/headerprofile. As in llm-d a
// name that no profile has is a refusal, never the default and never the only one: a coordinator that
// asks for a stage must not get another. Without the header llm-d runs defaultProfile also where the
// only profile has another name, and turns every such request away. Whoever may send the header chooses the profile.

import { z } from "zod";
import { optionalHeaderName } from "../../header-names.ts";
import { requestHeader } from "../../model/inference-request.ts";
import { defineProfileHandler, type PickContext, type ProfileHandler } from "../../plugin.ts";

const DEFAULT_HEADER = "epp-profile";
const DEFAULT_PROFILE = "decode";

const params = z.strictObject({
  headerName: optionalHeaderName
    .default(DEFAULT_HEADER)
    .overwrite((name) => (name === "" ? DEFAULT_HEADER : name))
    .describe("Header that names the profile"),
  defaultProfile: z
    .string()
    .trim()
    .default(DEFAULT_PROFILE)
    .overwrite((name) => (name === "" ? DEFAULT_PROFILE : name))
    .describe("Profile of requests without the header"),
});
type Params = z.output<typeof params>;

const NOBODY = "no endpoint passed the scheduling profile's filters";

class HeaderProfileHandler implements ProfileHandler {
  readonly #params: Params;
  readonly #profiles: readonly string[];

  constructor(filled: Params, profiles: readonly string[]) {
    this.#params = filled;
    this.#profiles = profiles;
  }

  next(context: PickContext): string | undefined {
    const profile = this.#profileOf(context);
    if (profile === undefined) return undefined;
    return context.results.slotOf(profile) === undefined ? profile : undefined;
  }

  finish(context: PickContext) {
    const profile = this.#profileOf(context);
    if (profile === undefined) {
      const names = this.#profiles.join(", ");
      return `header ${this.#params.headerName} names none of the scheduling profiles: ${names}`;
    }
    return (context.results.slotOf(profile) ?? -1) < 0 ? NOBODY : { primary: profile };
  }

  #profileOf({ request }: PickContext): string | undefined {
    const named = requestHeader(request, this.#params.headerName)?.trim() ?? "";
    if (named === "" && this.#profiles.length === 1) return this.#profiles[0];
    const profile = named === "" ? this.#params.defaultProfile : named;
    return this.#profiles.includes(profile) ? profile : undefined;
  }
}

export const headerProfileHandler = defineProfileHandler({
  type: "header-profile-handler",
  stability: "alpha",
  params,
  requestHeaders: ({ headerName }: Params) => [headerName],
  // Of one profile it needs no name.
  profilesNamed: ({ defaultProfile }: Params, profiles) =>
    profiles.length <= 1
      ? []
      : [
          {
            path: "defaultProfile",
            name: defaultProfile,
            without: "requests without the header are turned away",
          },
        ],
  create: (filled, { profiles }) => new HeaderProfileHandler(filled, profiles),
});
