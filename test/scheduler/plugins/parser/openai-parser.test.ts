import { openaiParser } from "../../../../src/scheduler/plugins/parser/openai-parser.ts";
import { describeParser } from "../../support/parser-declaration.ts";

describeParser(openaiParser, {
  isBuilt: true,
  paths: ["/v1/chat/completions", "/v1/completions"],
});
