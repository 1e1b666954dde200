// What every parser's declaration must be, as a suite.

import { describe, expect, it } from "vitest";
import { PARSERS } from "../../../src/scheduler/parsers.ts";
import type { PluginDefinition } from "../../../src/scheduler/plugin.ts";

type Declared = Pick<PluginDefinition, "type" | "kinds" | "params" | "notes">;

export interface DeclaredParser {
  readonly isBuilt: boolean;
  /** Paths that it is for. */
  readonly paths: readonly string[];
}

export function describeParser(plugin: Declared, { isBuilt, paths }: DeclaredParser): void {
  describe(`${plugin.type}`, () => {
    const known = PARSERS.find(({ type }) => type === plugin.type)!;

    it("is a parser that the catalogue knows", () => {
      expect(plugin.kinds).toEqual(["parser"]);
      expect(known.isBuilt).toBe(isBuilt);
    });

    it.for(paths.map((path) => ({ path })))("is for $path", ({ path }) => {
      const isClaimed = known.claims.some((claim) => path.endsWith(claim));
      expect(isClaimed || known.claims.length === 0).toBe(true);
    });

    it("says so where it is not built", () => {
      const notes = plugin.notes!(plugin.params.parse({}));
      expect(notes.join(" ").includes("not built yet")).toBe(!isBuilt);
    });

    it("takes no parameters", () => {
      expect(plugin.params.safeParse({ path: "/x" }).success).toBe(false);
    });
  });
}
