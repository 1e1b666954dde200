import { anthropicParser } from "../../../../src/scheduler/plugins/parser/anthropic-parser.ts";
import { describeParser } from "../../support/parser-declaration.ts";

describeParser(anthropicParser, {
  isBuilt: false,
  paths: ["/v1/messages", "/v1/messages/count_tokens"],
});
