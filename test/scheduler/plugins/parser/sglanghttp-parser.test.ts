import { sglanghttpParser } from "../../../../src/scheduler/plugins/parser/sglanghttp-parser.ts";
import { describeParser } from "../../support/parser-declaration.ts";

describeParser(sglanghttpParser, {
  isBuilt: false,
  paths: ["/generate"],
});
