// vllmhttp-parser: vLLM's generation from token ids, over HTTP.
//
// Source: llm-d-router pkg/epp/framework/plugins/requesthandling/parsers/vllmhttp. Not read yet.
// A declaration: ../../parsers.ts has the paths it claims, and the Worker the code that reads
// them.

import { z } from "zod";
import { parserNotes } from "../../parsers.ts";
import { defineParser } from "../../plugin.ts";

export const vllmhttpParser = defineParser({
  type: "vllmhttp-parser",
  params: z.strictObject({}),
  notes: () => parserNotes("vllmhttp-parser"),
  create: () => ({}),
});
