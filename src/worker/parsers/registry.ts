// Which parser a path is for.
//
//   the path     without its query and without slashes at its end
//   the claim    the longest that the path ends with, at the beginning of a name; among parsers that
//                claim the same, the first
//   no claim     the first parser that claims nothing; those behind it are not used at all
//
// Source: llm-d-router pkg/epp/handlers/parsers.go. A claim there may also begin inside a name.

export interface Claimant {
  readonly type: string;
  /** See ParserClaims in scheduler/parsers.ts. */
  readonly claims: readonly string[];
}

/** Paths remembered; a release has a handful of routes, and asks for no other. */
const FOUND_MAX = 64;

export class ParserRegistry<Parser extends Claimant> {
  /** In the order given, each type once. */
  readonly parsers: readonly Parser[];
  readonly #claims: readonly { readonly claim: string; readonly parser: Parser }[];
  readonly #fallback: Parser | undefined;
  /** Who was found for paths that were asked for; at most FOUND_MAX. */
  readonly #found = new Map<string, Parser | undefined>();

  constructor(parsers: readonly Parser[]) {
    const used: Parser[] = [];
    for (const parser of parsers) {
      if (used.some(({ type }) => type === parser.type)) continue;
      used.push(parser);
      if (parser.claims.length === 0) break;
    }
    this.parsers = used;
    this.#fallback = used.find((parser) => parser.claims.length === 0);
    // A stable sort: of equal claims the first parser's stays first.
    this.#claims = used
      .flatMap((parser) => parser.claims.map((claim) => ({ claim, parser })))
      .toSorted((a, b) => b.claim.length - a.claim.length);
  }

  /** Undefined where nobody claims the path. */
  find(path: string): Parser | undefined {
    const known = this.#found.get(path);
    if (known !== undefined) return known;
    const parser = this.#look(path);
    if (this.#found.size < FOUND_MAX) this.#found.set(path, parser);
    return parser;
  }

  #look(path: string): Parser | undefined {
    const bare = normalizePath(path);
    const found = this.#claims.find(({ claim }) => endsWithClaim(bare, claim));
    return found?.parser ?? this.#fallback;
  }
}

function normalizePath(path: string): string {
  return path.split("?", 1)[0]!.replace(/\/+$/, "");
}

function endsWithClaim(path: string, claim: string): boolean {
  if (claim.startsWith("/")) return path === claim;
  // A dot, too: `google.cloud.aiplatform.v1.PredictionService/…` is how gRPC names services.
  return path.endsWith(claim) && /^[/.]?$/.test(path.at(-claim.length - 1) ?? "");
}
