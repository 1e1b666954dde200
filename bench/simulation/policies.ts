// Every policy that can be named on the command line.

import { leastRequest } from "./policies/least-request.ts";
import { random } from "./policies/random.ts";
import { roundRobin } from "./policies/round-robin.ts";
import { shipped } from "./policies/shipped.ts";
import type { PolicyDefinition } from "./policy.ts";

export const POLICIES: readonly PolicyDefinition[] = [
  random,
  roundRobin,
  leastRequest,
  shipped({ name: "ours", about: "What a pool of ours does that configures nothing." }),
];
