// vllmgrpc-parser: vLLM's engine over gRPC.
//
// Source: llm-d-router pkg/epp/framework/plugins/requesthandling/parsers/vllmgrpc. Not read yet.
// A declaration: ../../parsers.ts has the paths it claims, and the Worker the code that reads
// them.

import { z } from "zod";
import { parserNotes } from "../../parsers.ts";
import { defineParser } from "../../plugin.ts";

export const vllmgrpcParser = defineParser({
  type: "vllmgrpc-parser",
  params: z.strictObject({}),
  notes: () => parserNotes("vllmgrpc-parser"),
  create: () => ({}),
});
