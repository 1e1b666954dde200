// What of a configuration says how much the pool's approximate index remembers, and which producers
// keep an index of their own.

import { DEFAULT_PRODUCERS } from "../data/data.ts";
import {
  type ApproximateParams,
  approximateParams,
  capacityParams,
  capacityRuleOf,
  isApproximate,
  isSameRule,
  OWN_INDEXES_MAX,
  ruleOf,
} from "../plugins/data-producer/approx-prefix-cache-producer.ts";
import { type ConfigPath, type Findings, quoted } from "./findings.ts";
import type { Demand, PluginEntry, PluginSet } from "./plugin-set.ts";
import type { PluginSpec } from "./scheduler-config.ts";

/**
 * Fills in the default producer, with the capacity of the first that is listed: so it reads the same
 * index. Gives whether it is there.
 */
export function fillInApproximate(plugins: PluginSet, findings: Findings, demand: Demand): boolean {
  const name = DEFAULT_PRODUCERS["prefix-match"];
  const listed = plugins
    .entries()
    .find(
      ({ index, definition, parameters }) =>
        index !== undefined && parameters !== undefined && isApproximate(definition?.type ?? ""),
    );
  if (listed === undefined) return plugins.fillIn(name, demand);
  const isNew = plugins.get(name) === undefined;
  const capacity = capacityParams(listed.parameters as ApproximateParams);
  const hasDefault = isSameRule(ruleOf(approximateParams.parse(capacity)), DEFAULT_RULE);
  if (isNew && !hasDefault)
    findings.note(
      ["plugins", listed.index!],
      `${quoted(name)}, which is filled in, has the capacity of ${quoted(listed.name)}`,
    );
  return plugins.fillIn(name, demand, hasDefault ? {} : capacity);
}

const DEFAULT_RULE = ruleOf(approximateParams.parse({}));

/** Tells which approximate producers have an index of their own, and refuses too many. */
export function checkOwnIndexes(
  specs: readonly PluginSpec[],
  plugins: PluginSet,
  findings: Findings,
): void {
  const poolRule = capacityRuleOf({ plugins: specs });
  const own = specs.filter(
    ({ type, parameters }) =>
      isApproximate(type) && !isSameRule(ruleOf(parameters as ApproximateParams), poolRule),
  );
  for (const { name } of own)
    findings.note(pathOf(plugins.get(name)!), `${quoted(name)} ${OWN_INDEX_NOTE}`);
  if (own.length > OWN_INDEXES_MAX)
    findings.mistake(
      pathOf(plugins.get(own[OWN_INDEXES_MAX]!.name)!),
      `${own.length} producers have another capacity than the pool's index; at most ` +
        `${OWN_INDEXES_MAX} are allowed`,
    );
}

const OWN_INDEX_NOTE =
  "has another capacity than the pool's index and keeps one of its own: it learns when an endpoint is " +
  "chosen, not when a prompt was computed there, and begins anew with the pool's object";

function pathOf({ index }: PluginEntry): ConfigPath {
  return index === undefined ? ["plugins"] : ["plugins", index];
}
