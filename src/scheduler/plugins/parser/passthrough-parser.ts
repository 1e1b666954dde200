// passthrough-parser: whatever nobody else claims, unread.
//
// Source: llm-d-router pkg/epp/framework/plugins/requesthandling/parsers/passthrough. Not served:
// only paths that a parser reads are forwarded, so that no engine's management path can be
// reached. A declaration: ../../parsers.ts has the paths it claims, and the Worker the code that
// reads them.

import { z } from "zod";
import { parserNotes } from "../../parsers.ts";
import { defineParser } from "../../plugin.ts";

export const passthroughParser = defineParser({
  type: "passthrough-parser",
  params: z.strictObject({}),
  notes: () => parserNotes("passthrough-parser"),
  create: () => ({}),
});
