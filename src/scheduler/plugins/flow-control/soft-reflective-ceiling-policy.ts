// soft-reflective-ceiling-policy: lower priorities take turns as saturation rises.
//
//   reflective[i] = 1 − i × s / (n − 1)
//   ceiling[0]    = 1
//   ceiling[i]    = 1 while s < reflective[i]; 0 at s ≥ 1; between 1 in one of `period` turns, else 0
//   period        = max(1, round(s / (1 − s)))      turns count while s ≥ 1 − s
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/usagelimits/softreflectiveceiling. All bands
// that are held share one duty cycle. A turn is one look for a request to let through. llm-d looks
// each millisecond; here that happens when a request comes or ends or a sample arrives, so the cycle
// turns as fast as the pool works.

import { z } from "zod";
import { defineUsageLimitPolicy } from "../../plugin.ts";

function createPolicy() {
  let turn = 0;
  return {
    ceilings(saturation: number, priorities: readonly number[], out: Float64Array): void {
      const last = priorities.length - 1;
      const isHigh = saturation >= 1 - saturation;
      if (isHigh) turn += 1;
      const period = Math.max(1, Math.round(saturation / (1 - saturation + 1e-9)));
      const held = saturation < 1 && turn % period === 0 ? 1 : 0;
      out[0] = 1;
      for (let i = 1; i <= last; i++) out[i] = saturation < 1 - (i * saturation) / last ? 1 : held;
    },
  };
}

export const softReflectiveCeilingPolicy = defineUsageLimitPolicy({
  type: "soft-reflective-ceiling-policy",
  role: "usage limit policy",
  stability: "alpha",
  params: z.strictObject({}),
  create: createPolicy,
});
