import { passthroughParser } from "../../../../src/scheduler/plugins/parser/passthrough-parser.ts";
import { describeParser } from "../../support/parser-declaration.ts";

describeParser(passthroughParser, {
  isBuilt: false,
  paths: ["/anything"],
});
