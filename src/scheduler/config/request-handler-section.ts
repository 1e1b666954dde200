// The `requestHandler` section: which parsers read the bodies of requests.

import { z } from "zod";
import { DEFAULT_PARSER_TYPES } from "../parsers.ts";
import { findPlugin } from "../registry.ts";
import { present, readList } from "./document.ts";
import type { ConfigPath, Findings } from "./findings.ts";
import { SCHEDULER_LIMITS } from "./limits.ts";
import { ofKinds, type PluginSet } from "./plugin-set.ts";
import type { RequestHandlerSpec } from "./scheduler-config.ts";
import { readFields } from "./shape.ts";

const REF = { pluginRef: z.string().min(1).max(SCHEDULER_LIMITS.nameCharsMax) };
const SECTION = { parsers: z.unknown() };

export interface ParserSections {
  readonly requestHandler: unknown;
  /** The deprecated section of the top level. */
  readonly parser: unknown;
}

/** Fills in the default parsers where none is listed, and those that are listed by their type. */
export function readRequestHandler(
  { requestHandler, parser }: ParserSections,
  plugins: PluginSet,
  findings: Findings,
): RequestHandlerSpec {
  const place = { path: ["requestHandler"], findings };
  const written = readFields(SECTION, requestHandler ?? {}, place);
  const path = ["requestHandler", "parsers"];
  const list = readList(written?.parsers, SCHEDULER_LIMITS.parsersMax, { path, findings }) ?? [];
  const refs = list.map((ref, i) => ({ ref, path: [...path, i] as ConfigPath }));
  if (present(parser)) {
    const ignored = refs.length > 0 ? "; the ones there are used" : "";
    findings.note(["parser"], `deprecated: use requestHandler.parsers${ignored}`);
    if (refs.length === 0) refs.push({ ref: parser, path: ["parser"] });
  }
  if (refs.length === 0) {
    for (const type of DEFAULT_PARSER_TYPES) plugins.fillIn(type);
    return { parsers: DEFAULT_PARSER_TYPES.map((pluginRef) => ({ pluginRef })) };
  }
  return { parsers: refs.flatMap((each) => readParser(each, plugins, findings)) };
}

function readParser(
  { ref, path }: { readonly ref: unknown; readonly path: ConfigPath },
  plugins: PluginSet,
  findings: Findings,
): { readonly pluginRef: string }[] {
  const name = readFields(REF, ref, { path, findings })?.pluginRef;
  if (name === undefined) return [];
  if (findPlugin(name)?.kinds.includes("parser") === true) plugins.fillIn(name);
  const demand = ofKinds("parser");
  plugins.check({ name, path: [...path, "pluginRef"], demand, subject: "parser" });
  return [{ pluginRef: name }];
}
