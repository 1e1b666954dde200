// Every policy that can be named on the command line.

import { bottleneckMatched } from "./policies/bottleneck-matched.ts";
import { dynamo } from "./policies/dynamo.ts";
import { leastRequest } from "./policies/least-request.ts";
import { llmdDefault, llmdOptimized } from "./policies/llm-d.ts";
import { oracle } from "./policies/oracle.ts";
import { preble } from "./policies/preble.ts";
import { random } from "./policies/random.ts";
import { roundRobin } from "./policies/round-robin.ts";
import { sessionSticky } from "./policies/session-sticky.ts";
import { shipped } from "./policies/shipped.ts";
import { smgCacheAware, smgLeastLoad } from "./policies/smg.ts";
import type { PolicyDefinition } from "./policy.ts";

export const POLICIES: readonly PolicyDefinition[] = [
  random,
  roundRobin,
  leastRequest,
  sessionSticky,
  smgLeastLoad,
  smgCacheAware,
  llmdDefault,
  llmdOptimized,
  bottleneckMatched,
  dynamo,
  preble,
  shipped({ name: "ours", about: "What a pool of ours does that configures nothing." }),
  oracle,
];
