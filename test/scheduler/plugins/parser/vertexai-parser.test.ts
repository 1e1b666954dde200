import { vertexaiParser } from "../../../../src/scheduler/plugins/parser/vertexai-parser.ts";
import { describeParser } from "../../support/parser-declaration.ts";

describeParser(vertexaiParser, {
  isBuilt: false,
  paths: ["/google.cloud.aiplatform.v1.PredictionService/ChatCompletions"],
});
