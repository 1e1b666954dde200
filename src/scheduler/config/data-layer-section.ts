// The `dataLayer` section: what is read of endpoints, from where, and by whom.

import { z } from "zod";
import { present, readList } from "./document.ts";
import type { ConfigPath, Findings } from "./findings.ts";
import { SCHEDULER_LIMITS } from "./limits.ts";
import { ofKinds, ofRole, type PluginSet } from "./plugin-set.ts";
import { formatDuration, parseDurationMs } from "./quantities.ts";
import type { DataLayerSpec, DataSourceSpec } from "./scheduler-config.ts";
import { readFields } from "./shape.ts";

const DEFAULT_SOURCE = "metrics-data-source";
const DEFAULT_EXTRACTOR = "core-metrics-extractor";
const SYNC_INTERVAL_MS = 200;

const name = z.string().max(SCHEDULER_LIMITS.nameCharsMax);
const REF = { pluginRef: name.min(1) };
const SOURCE = { pluginRef: name.min(1), extractors: z.unknown() };
const SECTION = {
  injectDefaults: z.boolean().nullish(),
  sources: z.unknown(),
  discovery: z.unknown(),
  peerDiscovery: z.unknown(),
  crossReplicaSyncerPluginRef: name.nullish(),
  crossReplicaSyncInterval: z.string().nullish(),
};

const PATH: ConfigPath = ["dataLayer"];

/** Fills in the default source and extractor, unless told otherwise. */
export function readDataLayer(
  section: unknown,
  plugins: PluginSet,
  findings: Findings,
): DataLayerSpec {
  const written = readFields(SECTION, section ?? {}, { path: PATH, findings }) ?? {};
  const injectDefaults = written.injectDefaults ?? true;
  const sources = readSources(written.sources, plugins, findings);
  const hasDefault = sources.some(
    ({ pluginRef }) => plugins.get(pluginRef)?.definition?.type === DEFAULT_SOURCE,
  );
  if (injectDefaults && !hasDefault) {
    plugins.fillIn(DEFAULT_SOURCE);
    plugins.fillIn(DEFAULT_EXTRACTOR);
    sources.push({ pluginRef: DEFAULT_SOURCE, extractors: [{ pluginRef: DEFAULT_EXTRACTOR }] });
  }
  const discovery = readRole(written.discovery, "discovery", plugins, findings);
  const peerDiscovery = readRole(written.peerDiscovery, "peerDiscovery", plugins, findings);
  const syncer = written.crossReplicaSyncerPluginRef ?? "";
  if (syncer !== "")
    plugins.check({
      name: syncer,
      path: [...PATH, "crossReplicaSyncerPluginRef"],
      demand: ofRole("cross-replica syncer"),
      subject: "dataLayer",
    });
  return {
    injectDefaults,
    sources,
    ...(discovery === undefined ? {} : { discovery: { pluginRef: discovery } }),
    ...(peerDiscovery === undefined ? {} : { peerDiscovery: { pluginRef: peerDiscovery } }),
    crossReplicaSyncerPluginRef: syncer,
    crossReplicaSyncInterval: readInterval(written.crossReplicaSyncInterval, findings),
  };
}

function readSources(section: unknown, plugins: PluginSet, findings: Findings): DataSourceSpec[] {
  const place = { path: [...PATH, "sources"], findings };
  const list = readList(section, SCHEDULER_LIMITS.sourcesMax, place) ?? [];
  return list.flatMap((written, i) => {
    const path = [...place.path, i];
    const source = readFields(SOURCE, written, { path, findings });
    if (source?.pluginRef === undefined) return [];
    plugins.check({
      name: source.pluginRef,
      path: [...path, "pluginRef"],
      demand: ofKinds("data-source"),
      subject: "data source",
    });
    const extractors = readExtractors(source.extractors, path, plugins, findings);
    return [{ pluginRef: source.pluginRef, extractors }];
  });
}

function readExtractors(
  section: unknown,
  sourcePath: ConfigPath,
  plugins: PluginSet,
  findings: Findings,
): { pluginRef: string }[] {
  const place = { path: [...sourcePath, "extractors"], findings };
  const list = readList(section, SCHEDULER_LIMITS.extractorsPerSourceMax, place) ?? [];
  return list.flatMap((written, i) => {
    const path = [...place.path, i];
    const extractor = readFields(REF, written, { path, findings });
    if (extractor?.pluginRef === undefined) return [];
    plugins.check({
      name: extractor.pluginRef,
      path: [...path, "pluginRef"],
      // Data producers hear of endpoints that come and go.
      demand: ofKinds("extractor", "data-producer"),
      subject: "extractor",
    });
    return [{ pluginRef: extractor.pluginRef }];
  });
}

function readRole(
  section: unknown,
  field: "discovery" | "peerDiscovery",
  plugins: PluginSet,
  findings: Findings,
): string | undefined {
  if (!present(section)) return undefined;
  const path = [...PATH, field];
  const ref = readFields(REF, section, { path, findings });
  if (ref?.pluginRef === undefined) return undefined;
  const role = field === "discovery" ? "endpoint discovery" : "peer discovery";
  plugins.check({
    name: ref.pluginRef,
    path: [...path, "pluginRef"],
    demand: ofRole(role),
    subject: `dataLayer.${field}`,
  });
  return ref.pluginRef;
}

function readInterval(text: string | null | undefined, findings: Findings): string {
  const ms = present(text) ? parseDurationMs(text!) : SYNC_INTERVAL_MS;
  if (ms === undefined || ms < 0)
    findings.mistake(
      [...PATH, "crossReplicaSyncInterval"],
      "expected a duration that is not negative, e.g. 200ms",
    );
  else if (present(text))
    findings.note(
      [...PATH, "crossReplicaSyncInterval"],
      "no effect: one object holds the pool's state, there are no replicas to synchronize",
    );
  return formatDuration(ms ?? SYNC_INTERVAL_MS);
}
