// multicluster-file-discovery: the clusters of a file.
//
// Source: llm-d-router pkg/epp/framework/plugins/datalayer/discovery/file. As file-discovery:
// the agents' endpoints file takes host names and the labels metricsAddress and metricsPort.

import { z } from "zod";
import { ENDPOINT_EVENTS } from "../../data-layer/compile.ts";
import { SPECIFICATION_LIMITS } from "../../data-layer/specification.ts";
import { defineDataSource } from "../../plugin.ts";

export const multiclusterFileDiscovery = defineDataSource({
  type: "multicluster-file-discovery",
  role: "endpoint discovery",
  stability: "alpha",
  params: z.strictObject({
    path: z.string().min(1).max(SPECIFICATION_LIMITS.pathCharsMax).describe("Of the file"),
    watchFile: z.boolean().default(false).describe("Without effect: the file is always followed"),
  }),
  notes: ({ path }) => [
    `The object reads no file: \`fairlead config hub\` makes upstreams of the clusters in ${path}; or give collectors and relays the flag --endpoints ${path}.`,
  ],
  create: () => ENDPOINT_EVENTS,
});
