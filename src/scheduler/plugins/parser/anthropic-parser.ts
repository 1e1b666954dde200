// anthropic-parser: Anthropic's messages.
//
// Source: llm-d-router pkg/epp/framework/plugins/requesthandling/parsers/anthropic. Not read yet.
// A declaration: ../../parsers.ts has the paths it claims, and the Worker the code that reads
// them.

import { z } from "zod";
import { parserNotes } from "../../parsers.ts";
import { defineParser } from "../../plugin.ts";

export const anthropicParser = defineParser({
  type: "anthropic-parser",
  params: z.strictObject({}),
  notes: () => parserNotes("anthropic-parser"),
  create: () => ({}),
});
