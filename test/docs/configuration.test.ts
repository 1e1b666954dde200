// docs/configuration.md: its list of plugin types is complete, and its example is one.

import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { parse } from "yaml";
import { loadSchedulerConfig } from "../../src/scheduler/config/load.ts";
import { type AnyPluginDefinition, PLUGINS } from "../../src/scheduler/registry.ts";

const text = readFileSync("docs/configuration.md", "utf8");
const section = /^### Plugin types\n(.*?)^## /ms.exec(text)![1]!.replaceAll(/\s+/g, " ");
const plugins = PLUGINS as readonly unknown[] as readonly AnyPluginDefinition[];

it.for(plugins.map(({ type, stability, deprecated }) => ({ type, stability, deprecated })))(
  "lists $type with its marks",
  ({ type, stability, deprecated }) => {
    const marks = [stability === "alpha" ? " α" : "", deprecated === undefined ? "" : " °"].join(
      "",
    );
    expect(section).toMatch(new RegExp(`\`${type}\`${marks}[,.]`));
  },
);

it("lists deprecated names, and nothing that is not there", () => {
  const names = plugins.flatMap(({ type, aliases }) => [type, ...(aliases ?? [])]);
  const listed = [...section.matchAll(/`([a-z0-9-]+)`/g)].map(([, name]) => name!);
  expect(new Set(listed)).toEqual(new Set(names));
});

it("shows flow control that is right, with each of its fields", () => {
  const [, example] = /```yaml\n(scheduler:\n {2}featureGates.*?)```/s.exec(text)!;
  const { scheduler } = parse(example!) as { scheduler: { flowControl: object } };
  const loaded = loadSchedulerConfig(scheduler);
  expect(loaded).toMatchObject({ issues: [], notes: [] });
  const fields = Object.keys(loaded.config!.flowControl);
  expect(Object.keys(scheduler.flowControl)).toEqual(expect.arrayContaining(fields));
});

it("shows a configuration that is right", () => {
  const [, example] = /```yaml\n(apiVersion: .*?)```/s.exec(text)!;
  expect(loadSchedulerConfig(parse(example!))).toMatchObject({ issues: [], notes: [] });
});
