// Data sources and extractors put together, as a configuration binds them.

import {
  compileMetricsSpecification,
  type CompiledSpecification,
  type DataSource,
  type Extractor,
} from "../../../src/scheduler/data-layer/compile.ts";
import type { z } from "zod";
import type { Wiring } from "../../../src/scheduler/plugin.ts";

/** Any plugin's definition; what it creates is for the caller to know. */
interface Declared {
  readonly type: string;
  readonly params: z.ZodType;
  create(params: never, wiring: Wiring): unknown;
}

/** The instance that `plugin` makes of parameters as a person writes them. */
export function instanceOf<Instance>(plugin: Declared, parameters: object = {}): Instance {
  const wiring = { name: plugin.type, profiles: [], instance: () => ({}) };
  return plugin.create(plugin.params.parse(parameters) as never, wiring) as Instance;
}

export const sourceOf = (plugin: Declared, parameters?: object) =>
  instanceOf<DataSource>(plugin, parameters);

/** What collectors read with one source and its extractors. */
export function compiled(
  source: DataSource,
  ...extractors: readonly (readonly [plugin: Declared, parameters?: object | undefined])[]
): CompiledSpecification {
  return compileMetricsSpecification([
    {
      name: "source",
      source,
      extractors: extractors.map(([plugin, parameters]) => ({
        name: plugin.type,
        extractor: instanceOf<Extractor>(plugin, parameters),
      })),
    },
  ]);
}

/** Paths and messages of what is wrong with parameters. */
export function mistakesOf(
  plugin: Declared,
  parameters: object,
): [path: string, message: string][] {
  const { error } = plugin.params.safeParse(parameters);
  return (error?.issues ?? []).map(({ path, message }) => [path.join("."), message]);
}
