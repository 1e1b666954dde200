// House rules that neither the compiler nor the linter can check.

import { existsSync, globSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { PLUGINS } from "../src/scheduler/registry.ts";

const plugins = globSync("src/scheduler/plugins/*/*.ts");
const sources = globSync("{src,test,bench}/**/*.ts").filter((path) => !path.endsWith("env.d.ts"));

function pathsMatching(pattern: RegExp, paths = sources): string[] {
  // This file names what it looks for.
  return paths.filter(
    (path) => path !== "test/tidy.test.ts" && pattern.test(readFileSync(path, "utf8")),
  );
}

describe.for(plugins)("%s", (path) => {
  const text = readFileSync(path, "utf8");

  it("has a test at the mirrored path", () => {
    expect(existsSync(path.replace(/^src/, "test").replace(/\.ts$/, ".test.ts"))).toBe(true);
  });

  it("opens with a header that names its type and its source", () => {
    const header = text.slice(0, text.search(/^(?!\/\/)/m));
    const type = /^\/\/ ([a-z0-9-]+): /.exec(header)?.[1];
    expect(text).toContain(`type: "${type}"`);
    expect(header).toMatch(/^\/\/ Source: /m);
  });

  it("is called after its file", () => {
    const [, name] = /([a-z0-9-]+)\.ts$/.exec(path)!;
    expect(text).toContain(`type: "${name}"`);
  });
});

it("registers every plugin file", () => {
  expect(PLUGINS.length).toBe(plugins.length);
});

it("names files in kebab-case, in folders that say what is in them", () => {
  const isTidy = /^(src|test|bench)(\/[a-z0-9-]+)*\/[a-z0-9-]+(\.test)?\.ts$/;
  expect(sources.filter((path) => !isTidy.test(path))).toEqual([]);
  expect(sources.filter((path) => /\/(utils|common|helpers|types)\//.test(path))).toEqual([]);
});

it("has a source for every mirrored test", () => {
  const tests = globSync("test/scheduler/**/*.test.ts");
  const sourceOf = (path: string) => path.replace(/^test/, "src").replace(/\.test\.ts$/, ".ts");
  expect(tests.filter((path) => !existsSync(sourceOf(path)))).toEqual([]);
});

it("imports with explicit extensions and exports no barrel", () => {
  expect(pathsMatching(/from "\.[^"]*(?<!\.ts|\.mjs|\.json)"/)).toEqual([]);
  expect(pathsMatching(/^export \* from/m)).toEqual([]);
});

it("leaves no TODO without an issue number", () => {
  expect(pathsMatching(/TODO(?!\(#\d+\))/)).toEqual([]);
});

it("gives a reason for every disabled lint rule and compiler check", () => {
  expect(pathsMatching(/(oxlint|eslint)-disable(?!.* -- \S)/)).toEqual([]);
  expect(pathsMatching(/@ts-(ignore|nocheck)|@ts-expect-error(?!.*\S)/)).toEqual([]);
});

it("keeps clocks, randomness and platforms out of the pure folders", () => {
  const pure = globSync(
    "src/{scheduler,config,telemetry,agents/protocol,agents/simulator/model}/**/*.ts",
  );
  expect(pathsMatching(/Math\.random|\bDate\.now|\bnew Date|performance\.now/, pure)).toEqual([]);
  const imports = /from "(?!\.|zod")[^"]+"/;
  expect(pathsMatching(imports, pure)).toEqual([]);
});
