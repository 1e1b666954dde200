// ejection-filter: drop the candidates that a relay has just failed to reach.
//
//   removed: nowMs < ejectedUntilMs      unless that would remove every candidate
//
// A relay ejects an endpoint for a lease: when a connection to it was refused or broke before an
// answer. The lease ends by itself, so that a mistake heals without anybody's help.
//
// Source: docs/architecture.md, "Endpoints that fail". The plugin is ours: llm-d's EPP relies on Kubernetes
// readiness, which takes seconds to tell. Put it before metrics-freshness-filter: a refused
// connection is a fact, a stale sample only the lack of one, so a stale endpoint goes before an
// ejected one. It misleads when one relay of several has lost its route to an engine: the others'
// requests stay away from it, too, for as long as that relay's leases last. O(n), no allocation.

import { z } from "zod";
import { isEjected } from "../../ejection.ts";
import { defineFilter } from "../../plugin.ts";

export const ejectionFilter = defineFilter({
  type: "ejection-filter",
  keepsUsable: true,
  params: z.strictObject({}),
  create: () => ({
    filter(context) {
      const { candidates, candidateCount } = context;
      let standing = 0;
      for (let i = 0; i < candidateCount; i++) {
        if (!isEjected(context, candidates[i]!)) standing++;
      }
      if (standing === 0) return candidateCount;
      let kept = 0;
      for (let i = 0; i < candidateCount; i++) {
        const slot = candidates[i]!;
        if (!isEjected(context, slot)) candidates[kept++] = slot;
      }
      return kept;
    },
  }),
});
