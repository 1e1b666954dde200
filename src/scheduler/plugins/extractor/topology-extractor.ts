// topology-extractor: which labels say where an endpoint is.
//
// Nothing is asked: labels come with the endpoints, from the collectors' discovery. The topology
// plugins read the usual labels; where this names others, they are copied to those.
//
// Source: llm-d-router pkg/epp/framework/plugins/datalayer/extractor/topology. llm-d falls back to a
// pod's spec.hostname for the host; here discovery must supply the label.

import { z } from "zod";
import { SPECIFICATION_LIMITS } from "../../data-layer/specification.ts";
import { defineExtractor } from "../../plugin.ts";
import { TOPOLOGY_LABELS } from "../../topology.ts";

const label = (usual: string) =>
  z
    .string()
    .max(SPECIFICATION_LIMITS.nameCharsMax)
    .default(usual)
    .describe(`Label of an endpoint; ${usual} where empty`);
const [HOSTNAME, RACK, ZONE, REGION] = TOPOLOGY_LABELS;

export const topologyExtractor = defineExtractor({
  type: "topology-extractor",
  stability: "alpha",
  params: z.strictObject({
    hostname: label(HOSTNAME),
    rack: label(RACK),
    zone: label(ZONE),
    region: label(REGION),
  }),
  create: ({ hostname, rack, zone, region }) => ({
    reads: "events",
    contribute: (builder) =>
      builder.topology({
        hostname: hostname || HOSTNAME,
        rack: rack || RACK,
        zone: zone || ZONE,
        region: region || REGION,
      }),
  }),
});
