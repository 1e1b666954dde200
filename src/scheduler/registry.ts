// Every plugin, and the schemas of references to them. Adding a plugin means adding one line here.

import { z } from "zod";
import { ejectionFilter } from "./plugins/filter/ejection.ts";
import { metricsFreshnessFilter } from "./plugins/filter/metrics-freshness.ts";
import { maxScorePicker } from "./plugins/picker/max-score.ts";
import { kvCacheUtilizationScorer } from "./plugins/scorer/kv-cache-utilization.ts";
import { noHitLruScorer } from "./plugins/scorer/no-hit-lru.ts";
import { prefixCacheScorer } from "./plugins/scorer/prefix-cache.ts";
import { queueScorer } from "./plugins/scorer/queue.ts";

/** In documentation order. */
export const FILTERS = [ejectionFilter, metricsFreshnessFilter] as const;
export const SCORERS = [
  queueScorer,
  kvCacheUtilizationScorer,
  prefixCacheScorer,
  noHitLruScorer,
] as const;
export const PICKERS = [maxScorePicker] as const;

interface AnyPlugin {
  readonly type: string;
  readonly params: z.ZodType;
}

/** The schema of a reference to `plugin`: its type and its parameters, defaults filled. */
function refSchema<const Plugin extends AnyPlugin>(plugin: Plugin) {
  return z.strictObject({
    type: z.literal(plugin.type as Plugin["type"]),
    params: (plugin.params as Plugin["params"]).prefault({} as never),
  });
}

function scorerRefSchemaOf<const Plugin extends AnyPlugin>(plugin: Plugin) {
  return refSchema(plugin).extend({
    weight: z
      .number()
      .positive()
      .max(1_000)
      .default(1)
      .describe("Factor of the score, as in llm-d"),
  });
}

// Array.prototype.map forgets tuples; these restate the element types.
type RefsOf<Plugins extends readonly AnyPlugin[]> = {
  [K in keyof Plugins]: ReturnType<typeof refSchema<Plugins[K]>>;
};
type ScorerRefsOf<Plugins extends readonly AnyPlugin[]> = {
  [K in keyof Plugins]: ReturnType<typeof scorerRefSchemaOf<Plugins[K]>>;
};

export const filterRefSchema = z.discriminatedUnion(
  "type",
  FILTERS.map((plugin) => refSchema(plugin)) as unknown as RefsOf<typeof FILTERS>,
);
export const scorerRefSchema = z.discriminatedUnion(
  "type",
  SCORERS.map((plugin) => scorerRefSchemaOf(plugin)) as unknown as ScorerRefsOf<typeof SCORERS>,
);
export const pickerRefSchema = z.discriminatedUnion(
  "type",
  PICKERS.map((plugin) => refSchema(plugin)) as unknown as RefsOf<typeof PICKERS>,
);

export type ScorerRef = z.output<typeof scorerRefSchema>;

/** The definition a parsed reference names. The schema has checked that it exists. */
export function pluginOf<Plugin extends AnyPlugin>(
  plugins: readonly Plugin[],
  ref: { readonly type: string },
): Plugin {
  const plugin = plugins.find((candidate) => candidate.type === ref.type);
  if (plugin === undefined) throw new Error(`plugin type ${ref.type} is not registered`);
  return plugin;
}
