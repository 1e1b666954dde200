// least-request: the endpoint with the fewest requests under way, by the router's own count.
//
// Source: Envoy's LEAST_REQUEST with as many choices as endpoints. Ties go to a random one.

import type { PolicyDefinition } from "../policy.ts";

export const leastRequest: PolicyDefinition = {
  name: "least-request",
  about: "The endpoint with the fewest requests under way, by the router's own count.",
  create({ endpointCount, rng }) {
    const underWay = new Int32Array(endpointCount);
    return {
      choose() {
        const first = Math.floor(rng() * endpointCount);
        let best = first;
        for (let i = 1; i < endpointCount; i++) {
          const slot = (first + i) % endpointCount;
          if (underWay[slot]! < underWay[best]!) best = slot;
        }
        underWay[best]! += 1;
        return [best];
      },
      shed: (_, slot) => void (underWay[slot]! -= 1),
      finished: (_, slot) => void (underWay[slot]! -= 1),
    };
  },
};
