// The `plugins` list: every entry's type, name and parameters.

import { z } from "zod";
import { PLUGINS, findPlugin, type AnyPluginDefinition } from "../registry.ts";
import { isObject, present, readList } from "./document.ts";
import { DEFAULT_EVICTION } from "./flow-control-section.ts";
import { type ConfigPath, type Findings, quoted } from "./findings.ts";
import { SCHEDULER_LIMITS } from "./limits.ts";
import { didYouMean } from "./near-miss.ts";
import type { PluginEntry, PluginSet } from "./plugin-set.ts";
import type { PluginParameters } from "./scheduler-config.ts";
import { readFields, readShape } from "./shape.ts";

/** Anything may be null, as in Go; what else may be wrong with an entry is told in more words below. */
const ENTRY = {
  name: z.string().max(SCHEDULER_LIMITS.nameCharsMax).nullish(),
  type: z.string().nullish(),
  parameters: z.record(z.string(), z.unknown()).nullish(),
};

export interface PluginsOptions {
  readonly allowExperimentalPlugins: boolean;
}

/** Adds what is listed to `plugins`. */
export function readPlugins(
  section: unknown,
  plugins: PluginSet,
  findings: Findings,
  options: PluginsOptions,
): void {
  const list = readList(section, SCHEDULER_LIMITS.pluginsMax, { path: ["plugins"], findings });
  for (const [index, written] of (list ?? []).entries()) {
    const entry = readEntry(written, index, findings, options);
    if (entry === undefined) continue;
    const other = plugins.get(entry.name);
    if (other === undefined) {
      plugins.add(entry);
    } else {
      const first = `plugins[${other.index}] has it already`;
      findings.mistake(
        ["plugins", index, "name"],
        `duplicate plugin name ${quoted(entry.name)}: ${first}`,
      );
    }
  }
}

function readEntry(
  written: unknown,
  index: number,
  findings: Findings,
  options: PluginsOptions,
): PluginEntry | undefined {
  const path: ConfigPath = ["plugins", index];
  const entry = readFields(ENTRY, written, { path, findings });
  if (entry === undefined) return undefined;
  const type = entry.type ?? "";
  const name = present(entry.name) && entry.name !== "" ? entry.name! : type;
  if (type === "") {
    findings.mistake([...path, "type"], `plugin ${quoted(name)} is missing a type`);
    return name === "" ? undefined : { name, index, definition: undefined, parameters: undefined };
  }
  const definition = findPlugin(type);
  if (definition === undefined) {
    const hint = didYouMean(type, typesAndAliases());
    const where = hint === "" ? "; docs/configuration.md lists those that are" : "";
    const message = `plugin type ${quoted(type)} is not registered${hint}${where}`;
    findings.mistake([...path, "type"], message);
    return { name, index, definition: undefined, parameters: undefined };
  }
  checkStability({ type, name, path }, definition, findings, options);
  const parameters = readShape(definition.params, withoutNulls(entry.parameters ?? {}), {
    path: [...path, "parameters"],
    findings,
  }) as PluginParameters | undefined;
  for (const sentence of parameters === undefined ? [] : (definition.notes?.(parameters) ?? []))
    findings.note(path, sentence);
  return { name, index, definition, parameters };
}

/** A member that is null is absent, as in Go. Not deep: see isShallow of document.ts. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, member]) =>
      member === null ? [] : [[key, withoutNulls(member)]],
    ),
  );
}

function checkStability(
  { type, name, path }: { readonly type: string; readonly name: string; readonly path: ConfigPath },
  definition: AnyPluginDefinition,
  findings: Findings,
  { allowExperimentalPlugins }: PluginsOptions,
): void {
  const isFilledIn = Object.values<string>(DEFAULT_EVICTION).includes(definition.type);
  if (definition.stability === "alpha" && !allowExperimentalPlugins && !isFilledIn)
    findings.mistake(
      [...path, "type"],
      `plugin ${quoted(name)} (type ${definition.type}) has Alpha stability level: it needs ` +
        "allowExperimentalPlugins, which is not set",
    );
  if (type !== definition.type)
    findings.note([...path, "type"], `${type} is deprecated: use ${definition.type}`);
  if (definition.deprecated !== undefined)
    findings.note([...path, "type"], `${definition.type} is deprecated. ${definition.deprecated}`);
}

function typesAndAliases(): string[] {
  return (PLUGINS as readonly unknown[] as readonly AnyPluginDefinition[]).flatMap(
    ({ type, aliases }) => [type, ...(aliases ?? [])],
  );
}
