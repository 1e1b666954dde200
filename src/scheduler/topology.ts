// How close two endpoints are to each other, by their labels.
//
//   4 host   kubernetes.io/hostname            2 zone     topology.kubernetes.io/zone
//   3 rack   topology.kubernetes.io/rack       1 region   topology.kubernetes.io/region
//   0 none of these is the same
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/util/topology. llm-d compares the names of
// each level alone, so that rack `r1` of one zone and rack `r1` of another are one rack. Here an equal
// name counts only where no wider level is known to differ.

import { type Labels, labelOf } from "./labels.ts";

/** From near to far; llm-d's names. */
export const TOPOLOGY_LEVELS = ["host", "rack", "zone", "region"] as const;
export type TopologyLevel = (typeof TOPOLOGY_LEVELS)[number];

/** As closenessOf says it: the larger the closer; 0 where nothing is shared. */
export const CLOSENESS = {
  host: 4,
  rack: 3,
  zone: 2,
  region: 1,
} as const satisfies Record<TopologyLevel, number>;

/** Labels of the levels, from near to far. */
export const TOPOLOGY_LABELS = [
  "kubernetes.io/hostname",
  "topology.kubernetes.io/rack",
  "topology.kubernetes.io/zone",
  "topology.kubernetes.io/region",
] as const;

/** The nearest level that both share, as CLOSENESS has it. An empty label is no label. */
export function closenessOf(one: Labels, other: Labels): number {
  let shared = 0;
  for (let level = TOPOLOGY_LABELS.length - 1; level >= 0; level--) {
    const name = labelOf(one, TOPOLOGY_LABELS[level]!) ?? "";
    const otherName = labelOf(other, TOPOLOGY_LABELS[level]!) ?? "";
    if (name === "" || otherName === "") continue;
    if (name !== otherName) return shared;
    shared = TOPOLOGY_LABELS.length - level;
  }
  return shared;
}
