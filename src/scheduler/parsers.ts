// Parsers of request bodies, as configurations name them: which paths each claims, and which are
// there. The Worker has their code (src/worker/parsers); this is what a configuration can be checked by.
//
// Source: llm-d-router pkg/epp/framework/plugins/requesthandling/parsers.

export interface ParserClaims {
  readonly type: string;
  /**
   * Ends of paths, without the slash before them; one that begins with a slash is a whole path. None:
   * the parser takes whatever nobody claims.
   */
  readonly claims: readonly string[];
  /** Ends of paths that llm-d's parser of this type claims, too, and this one does not. */
  readonly unclaimed?: readonly string[];
  /** Whether this release reads such bodies. A path that only others claim is answered with 404. */
  readonly isBuilt: boolean;
}

export const PARSERS: readonly ParserClaims[] = [
  {
    type: "openai-parser",
    claims: ["chat/completions", "completions"],
    unclaimed: ["responses", "conversations", "embeddings", "images/generations"],
    isBuilt: true,
  },
  { type: "anthropic-parser", claims: ["messages", "messages/count_tokens"], isBuilt: false },
  { type: "vllmhttp-parser", claims: ["inference/v1/generate"], isBuilt: false },
  // The whole path: vLLM's ends alike.
  { type: "sglanghttp-parser", claims: ["/generate"], isBuilt: false },
  {
    type: "vllmgrpc-parser",
    claims: ["vllm.grpc.engine.VllmEngine/Generate", "vllm.grpc.engine.VllmEngine/Embed"],
    isBuilt: false,
  },
  {
    type: "vertexai-parser",
    claims: [
      "PredictionService/ChatCompletions",
      "PredictionService/StreamRawPredict",
      "PredictionService/RawPredict",
    ],
    isBuilt: false,
  },
  { type: "passthrough-parser", claims: [], isBuilt: false },
];

/** Parsers of a pool that names none, in this order; as in llm-d. */
export const DEFAULT_PARSER_TYPES: readonly string[] = [
  "openai-parser",
  "anthropic-parser",
  "vllmhttp-parser",
  "passthrough-parser",
];

/** What whoever configures a parser should know of it; see PluginDefinition.notes. */
export function parserNotes(type: string): string[] {
  const parser = PARSERS.find((each) => each.type === type);
  if (parser === undefined) return [];
  const { unclaimed = [] } = parser;
  if (parser.isBuilt && unclaimed.length === 0) return [];
  if (parser.isBuilt) {
    const others = unclaimed.map((claim) => `…/${claim}`).join(", ");
    return [`${type} does not read ${others} yet: such requests are answered with 404.`];
  }
  const paths = parser.claims.map((claim) => (claim.startsWith("/") ? claim : `…/${claim}`));
  const what = paths.length === 0 ? "paths that no other parser claims" : paths.join(" and ");
  return [`${type} is not built yet: requests for ${what} are answered with 404.`];
}
