// round-robin: one endpoint after the other, as a Kubernetes Service does on average.

import type { PolicyDefinition } from "../policy.ts";

export const roundRobin: PolicyDefinition = {
  name: "round-robin",
  about: "One endpoint after the other.",
  create({ endpointCount }) {
    let next = 0;
    return { choose: () => [next++ % endpointCount] };
  },
};
