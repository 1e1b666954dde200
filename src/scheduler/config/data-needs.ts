// Data that plugins read from each other: who is filled in to produce it, and what nobody produces.

import { type DataKey, DEFAULT_PRODUCERS, producerOf } from "../data/data.ts";
import type { DataNeed } from "../plugin.ts";
import { CACHE_PRODUCERS } from "../plugins.ts";
import { type ConfigPath, type Findings, quoted } from "./findings.ts";
import { ofTypes, type PluginEntry, type PluginSet, producing } from "./plugin-set.ts";
import { fillInApproximate } from "./prefix-indexes.ts";

/** Fills in default producers until every need is met, those of what was filled in included. */
export function meetDataNeeds(plugins: PluginSet, findings: Findings): void {
  // Decisions are told and recorded with what is known of the prefix, whether or not a plugin asks.
  if (!plugins.ofKind("data-producer").some(({ definition }) => tellsPrefixes(definition!.type)))
    fillInApproximate(plugins, findings, ofTypes(...CACHE_PRODUCERS));
  // What is filled in is appended, and its own needs come up in turn.
  for (let i = 0; i < plugins.size; i++) {
    const entry = plugins.entries()[i]!;
    for (const need of needsOf(entry)) meet(need, entry, plugins, findings);
  }
}

/** Names of what `entry` reads. */
export function producersOf(entry: PluginEntry): string[] {
  return needsOf(entry).map(({ key, producer }) => producerOf(key, producer));
}

function needsOf({ definition, parameters }: PluginEntry): readonly DataNeed[] {
  return parameters === undefined ? [] : (definition?.consumes?.(parameters) ?? []);
}

function tellsPrefixes(type: string): boolean {
  return (CACHE_PRODUCERS as readonly string[]).includes(type);
}

/** Gives whether the key's default producer is there. */
function fillInDefault(key: DataKey, plugins: PluginSet, findings: Findings): boolean {
  return key === "prefix-match"
    ? fillInApproximate(plugins, findings, producing(key))
    : plugins.fillIn(DEFAULT_PRODUCERS[key], producing(key));
}

function meet(
  { key, producer, isOptional }: DataNeed,
  consumer: PluginEntry,
  plugins: PluginSet,
  findings: Findings,
): void {
  const name = producerOf(key, producer);
  const isDefault = isOptional !== true && name === DEFAULT_PRODUCERS[key];
  if (isDefault && !fillInDefault(key, plugins, findings)) return;
  const found = plugins.get(name);
  if (found !== undefined) {
    const { definition } = found;
    if (definition === undefined || definition.produces?.includes(key) === true) return;
  }
  const path: ConfigPath =
    consumer.index === undefined ? ["plugins"] : ["plugins", consumer.index, "parameters"];
  const what = found === undefined ? "is not there" : "does not produce it";
  const who = `${quoted(consumer.name)} reads ${key} from ${quoted(name)}, which ${what}`;
  if (isOptional === true) {
    findings.note(path, `${who}: it does without`);
    return;
  }
  const names = plugins
    .entries()
    .filter(({ definition }) => definition?.produces?.includes(key))
    .map((other) => quoted(other.name));
  const allowed = names.length === 0 ? "list one" : `producers of it are ${names.join(", ")}`;
  findings.mistake(path, `missing data producer: ${who}; ${allowed}`);
}
