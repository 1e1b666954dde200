// openai-parser: OpenAI's chat and text completions.
//
// Source: llm-d-router pkg/epp/framework/plugins/requesthandling/parsers/openai. llm-d's also
// claims responses, conversations, embeddings and images/generations, which are not read yet. A
// declaration: ../../parsers.ts has the paths it claims, and the Worker the code that reads them.

import { z } from "zod";
import { parserNotes } from "../../parsers.ts";
import { defineParser } from "../../plugin.ts";

export const openaiParser = defineParser({
  type: "openai-parser",
  params: z.strictObject({}),
  notes: () => parserNotes("openai-parser"),
  create: () => ({}),
});
