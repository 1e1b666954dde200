// Instances of plugins, made as a pool makes them, for tests of one plugin.

import type {
  DataProducer,
  Filter,
  PickContext,
  Picker,
  PluginInstance,
  Scorer,
  Wiring,
} from "../../../src/scheduler/plugin.ts";
import type { NarrowingContext } from "../../../src/scheduler/plugin.ts";
import { pluginOf } from "../../../src/scheduler/registry.ts";

/** Wiring of an instance that is called after its type, in a pool of one profile, `default`. */
export function testWiring(name: string, overrides: Partial<Wiring> = {}): Wiring {
  return {
    name,
    profiles: ["default"],
    instance: (other) => {
      throw new Error(`no instance of ${other} in this test`);
    },
    ...overrides,
  };
}

/** An instance of a registered type; parameters are parsed by its schema. */
export function createPlugin(
  type: string,
  params: object = {},
  wiring: Partial<Wiring> = {},
): PluginInstance {
  const plugin = pluginOf(type);
  return plugin.create(plugin.params.parse(params), testWiring(type, wiring)) as PluginInstance;
}

export function createFilter(type: string, params: object = {}): Filter {
  return createPlugin(type, params) as Filter;
}

/** Slots that a filter keeps of the context's candidates. */
export function keptBy(type: string, params: object, context: PickContext): number[] {
  const kept = createFilter(type, params).filter(context);
  return [...context.candidates.subarray(0, kept)];
}

/** Whether a type's schema takes the parameters. */
export function accepts(type: string, params: object): boolean {
  return pluginOf(type).params.safeParse(params).success;
}

export function createScorer(type: string, params: object = {}): Scorer {
  return createPlugin(type, params) as Scorer;
}

export function createPicker(type: string, params: object = {}): Picker {
  return createPlugin(type, params) as Picker;
}

/** Scores of the candidates, in their order. */
export function scoresOf(scorer: Scorer, context: NarrowingContext): number[] {
  const out = new Float64Array(context.candidateCount);
  scorer.score(context, out);
  return [...out];
}

export function createProducer(type: string, params: object = {}): DataProducer {
  return createPlugin(type, params) as DataProducer;
}
