// session-sticky: a session stays where it began, unless that endpoint carries too much.
//
//   leave if requests[slot] + 1 > 1.25 · (requests of all + 1) / endpoints
//
// Source: sticky sessions of common load balancers, with the load bound of consistent hashing with
// bounded loads (Mirrokni, Thorup, Zadimoghaddam), as Envoy and HAProxy have it.

import type { PolicyDefinition } from "../policy.ts";
import { cheapest } from "./prefix-books.ts";

const LOAD_BOUND = 1.25;

export const sessionSticky: PolicyDefinition = {
  name: "session-sticky",
  about: "Where the session began, unless that endpoint has 1.25 times its share of the requests.",
  create(context) {
    const { endpointCount } = context;
    const requests = new Int32Array(endpointCount);
    const homes = new Map<number, number>();
    let total = 0;
    const ended = (slot: number): void => {
      requests[slot]! -= 1;
      total--;
    };
    return {
      choose({ session }) {
        const bound = Math.ceil((LOAD_BOUND * (total + 1)) / endpointCount);
        let slot = homes.get(session);
        if (slot === undefined || requests[slot]! + 1 > bound) {
          slot = cheapest(context, (other) => requests[other]!);
          homes.set(session, slot);
        }
        requests[slot]! += 1;
        total++;
        return [slot];
      },
      finished: (_, slot) => ended(slot),
      shed: (_, slot) => ended(slot),
    };
  },
};
