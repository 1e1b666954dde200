// file-discovery: the endpoints of a file.
//
// Source: llm-d-router pkg/epp/framework/plugins/datalayer/discovery/file. A declaration: collectors
// and relays read the file, each by its own flag --endpoints, in the same format, and follow its
// changes in any case. They are stricter: a bad entry is a mistake of the whole file, and the last
// good one stays in force.

import { z } from "zod";
import { ENDPOINT_EVENTS } from "../../data-layer/compile.ts";
import { SPECIFICATION_LIMITS } from "../../data-layer/specification.ts";
import { defineDataSource } from "../../plugin.ts";

export const fileDiscovery = defineDataSource({
  type: "file-discovery",
  role: "endpoint discovery",
  params: z.strictObject({
    path: z.string().min(1).max(SPECIFICATION_LIMITS.pathCharsMax).describe("Of the file"),
    watchFile: z.boolean().default(false).describe("Without effect: the file is always followed"),
  }),
  notes: ({ path }) => [
    `The object reads no file: give collectors and relays the flag --endpoints ${path}.`,
  ],
  create: () => ENDPOINT_EVENTS,
});
