import { vllmgrpcParser } from "../../../../src/scheduler/plugins/parser/vllmgrpc-parser.ts";
import { describeParser } from "../../support/parser-declaration.ts";

describeParser(vllmgrpcParser, {
  isBuilt: false,
  paths: ["/vllm.grpc.engine.VllmEngine/Generate", "/vllm.grpc.engine.VllmEngine/Embed"],
});
