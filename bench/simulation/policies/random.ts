// random: any endpoint, each as likely.

import type { PolicyDefinition } from "../policy.ts";

export const random: PolicyDefinition = {
  name: "random",
  about: "Any endpoint, each as likely.",
  create: ({ endpointCount, rng }) => ({
    choose: () => [Math.floor(rng() * endpointCount)],
  }),
};
