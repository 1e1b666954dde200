import { vllmhttpParser } from "../../../../src/scheduler/plugins/parser/vllmhttp-parser.ts";
import { describeParser } from "../../support/parser-declaration.ts";

describeParser(vllmhttpParser, {
  isBuilt: false,
  paths: ["/inference/v1/generate"],
});
