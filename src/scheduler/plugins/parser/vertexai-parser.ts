// vertexai-parser: Vertex AI's prediction service.
//
// Source: llm-d-router pkg/epp/framework/plugins/requesthandling/parsers/vertexai. Not read yet.
// A declaration: ../../parsers.ts has the paths it claims, and the Worker the code that reads
// them.

import { z } from "zod";
import { parserNotes } from "../../parsers.ts";
import { defineParser } from "../../plugin.ts";

export const vertexaiParser = defineParser({
  type: "vertexai-parser",
  params: z.strictObject({}),
  notes: () => parserNotes("vertexai-parser"),
  create: () => ({}),
});
