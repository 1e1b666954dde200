// Reads an EndpointPickerConfig: checks it, and fills in what llm-d would.
//
// Source: llm-d-router pkg/epp/config/loader/{configloader,defaults,validation}.go.

import { z } from "zod";
import { DEFAULT_PRODUCERS } from "../data/data.ts";
import type { DataNeed } from "../plugin.ts";
import { findPlugin, pluginOf } from "../registry.ts";
import { DEFAULT_CONFIG } from "./default-config.ts";
import type {
  PluginParameters,
  PluginSpec,
  SchedulerConfig,
  SchedulingProfileSpec,
} from "./scheduler-config.ts";

/** One mistake. `path` is within the configuration. */
export interface SchedulerConfigIssue {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

export interface LoadedSchedulerConfig {
  /** undefined where there is a mistake. */
  readonly config: SchedulerConfig | undefined;
  readonly issues: readonly SchedulerConfigIssue[];
}

const inputSchema = z.strictObject({
  apiVersion: z.string().optional(),
  kind: z.literal("EndpointPickerConfig").optional(),
  plugins: z
    .array(
      z.strictObject({
        name: z.string().optional(),
        type: z.string(),
        parameters: z.record(z.string(), z.unknown()).optional(),
      }),
    )
    .default([]),
  schedulingProfiles: z
    .array(
      z.strictObject({
        name: z.string(),
        plugins: z
          .array(z.strictObject({ pluginRef: z.string(), weight: z.number().optional() }))
          .default([]),
      }),
    )
    .default([]),
});

/** Expected mistakes are values: nothing is thrown for any input. */
export function loadSchedulerConfig(input: unknown): LoadedSchedulerConfig {
  const isNothing = input === undefined || (isObject(input) && Object.keys(input).length === 0);
  const parsed = inputSchema.safeParse(isNothing ? DEFAULT_CONFIG : input);
  if (!parsed.success) {
    const issues = parsed.error.issues.map(({ path, message }) => ({
      path: path.map((key) => (typeof key === "symbol" ? String(key) : key)),
      message,
    }));
    return { config: undefined, issues };
  }
  const issues: SchedulerConfigIssue[] = [];
  const plugins: PluginSpec[] = [];
  for (const [i, { name, type, parameters }] of parsed.data.plugins.entries()) {
    const definition = findPlugin(type);
    if (definition === undefined) {
      issues.push({
        path: ["plugins", i, "type"],
        message: `plugin type '${type}' is not registered`,
      });
      continue;
    }
    const params = definition.params.safeParse(parameters ?? {});
    if (params.success) {
      const filled = params.data as PluginParameters;
      plugins.push({ name: name ?? type, type: definition.type, parameters: filled });
    } else {
      for (const issue of params.error.issues) {
        const path = ["plugins", i, "parameters", ...(issue.path as (string | number)[])];
        issues.push({ path, message: issue.message });
      }
    }
  }
  const names = new Set(plugins.map(({ name }) => name));
  if (names.size < plugins.length)
    issues.push({ path: ["plugins"], message: "duplicate plugin name" });
  for (const [p, profile] of parsed.data.schedulingProfiles.entries()) {
    for (const [r, { pluginRef }] of profile.plugins.entries()) {
      const path = ["schedulingProfiles", p, "plugins", r, "pluginRef"];
      if (!names.has(pluginRef))
        issues.push({ path, message: `references undefined plugin '${pluginRef}'` });
    }
    const kinds = profile.plugins.flatMap(({ pluginRef }) => {
      const type = plugins.find(({ name }) => name === pluginRef)?.type;
      return type === undefined ? [] : pluginOf(type).kinds;
    });
    if (kinds.filter((kind) => kind === "picker").length !== 1)
      issues.push({ path: ["schedulingProfiles", p], message: "expected one picker" });
  }
  if (parsed.data.schedulingProfiles.length !== 1)
    issues.push({ path: ["schedulingProfiles"], message: "expected one profile" });
  if (issues.length > 0) return { config: undefined, issues };
  return { config: complete(plugins, parsed.data.schedulingProfiles), issues };
}

function complete(
  plugins: readonly PluginSpec[],
  profiles: readonly SchedulingProfileSpec[],
): SchedulerConfig {
  const all = [...plugins];
  const has = (type: string) => all.some((plugin) => plugin.type === type);
  const add = (type: string) => {
    if (!has(type))
      all.push({
        name: type,
        type,
        parameters: pluginOf(type).params.parse({}) as PluginParameters,
      });
  };
  add("single-profile-handler");
  const needs: DataNeed[] = [{ key: "prefix-match" }];
  for (const { type, parameters } of all)
    needs.push(...(pluginOf(type).consumes?.(parameters) ?? []));
  for (const { key, producer } of needs) if (!producer) add(DEFAULT_PRODUCERS[key]);
  return {
    apiVersion: "llm-d.ai/v1alpha1",
    kind: "EndpointPickerConfig",
    plugins: all,
    schedulingProfiles: profiles.map(({ name, plugins: refs }) => ({ name, plugins: refs })),
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
