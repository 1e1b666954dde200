// The `schedulingProfiles` list, and the profile that stands for it where there is none.

import { z } from "zod";
import { PROFILE_KINDS } from "../plugin.ts";
import { isObject, readList } from "./document.ts";
import { type ConfigPath, type Findings, quoted } from "./findings.ts";
import { SCHEDULER_LIMITS } from "./limits.ts";
import { ofKinds, type PluginEntry, type PluginSet } from "./plugin-set.ts";
import type { ProfilePluginSpec, SchedulingProfileSpec } from "./scheduler-config.ts";
import { readFields } from "./shape.ts";

const DEFAULT_PROFILE = "default";
const DEFAULT_PICKER = "max-score-picker";
const DEFAULT_HANDLER = "single-profile-handler";
/** Of scorers that are listed without a weight. */
const DEFAULT_WEIGHT = 1;

const name = z.string().max(SCHEDULER_LIMITS.nameCharsMax).nullish();
const PROFILE = { name, plugins: z.unknown() };
const REF = { pluginRef: name, weight: z.number().nullish() };

/** What can be read of them; fills in pickers and the handler. */
export function readProfiles(
  section: unknown,
  plugins: PluginSet,
  findings: Findings,
): SchedulingProfileSpec[] {
  const place = { path: ["schedulingProfiles"], findings };
  const list = readList(section, SCHEDULER_LIMITS.profilesMax, place);
  if (list === undefined) return [];
  const profiles =
    list.length === 0
      ? [{ path: ["schedulingProfiles", 0], ...profileOfAll(plugins, findings) }]
      : list.flatMap((written, i) => readProfile(written, i, plugins, findings) ?? []);
  const names = new Set<string>();
  for (const profile of profiles) {
    if (profile.name !== "" && names.has(profile.name))
      findings.mistake(
        [...profile.path, "name"],
        `schedulingProfiles[${profile.path[1]}] has duplicate name ${quoted(profile.name)}`,
      );
    names.add(profile.name);
  }
  if (plugins.ofKind("picker").length === 0 && !profiles.some(hasUnknown(plugins)))
    plugins.fillIn(DEFAULT_PICKER);
  fillInHandler(list.length, plugins, findings);
  return profiles.map((profile) => complete(profile, plugins, findings));
}

interface ReadProfile extends SchedulingProfileSpec {
  readonly path: ConfigPath;
}

/** Of every filter, scorer and picker, in the order they are listed; llm-d's order is random. */
function profileOfAll(plugins: PluginSet, findings: Findings): SchedulingProfileSpec {
  const demand = ofKinds(...PROFILE_KINDS);
  const listed = plugins
    .entries()
    .filter(({ definition }) => definition !== undefined && demand.fits(definition));
  for (const plugin of listed)
    if (plugin.definition?.role === "saturation detector")
      findings.note(
        pathOf(plugin),
        "no schedulingProfiles are given, so this detector is also a filter of the default one, as in llm-d",
      );
  return {
    name: DEFAULT_PROFILE,
    plugins: listed.map((plugin) => ({ pluginRef: plugin.name })),
  };
}

function readProfile(
  written: unknown,
  index: number,
  plugins: PluginSet,
  findings: Findings,
): ReadProfile | undefined {
  const path: ConfigPath = ["schedulingProfiles", index];
  if (isObject(written) && ["filters", "scorers", "picker"].some((key) => key in written)) {
    findings.mistake(path, FORMER_FORM);
    return undefined;
  }
  const profile = readFields(PROFILE, written, { path, findings });
  if (profile === undefined) return undefined;
  if ((profile.name ?? "") === "")
    findings.mistake([...path, "name"], `schedulingProfiles[${index}] is missing a name`);
  const place = { path: [...path, "plugins"], findings };
  const refs = readList(profile.plugins, SCHEDULER_LIMITS.pluginsPerProfileMax, place) ?? [];
  return {
    path,
    name: profile.name ?? "",
    plugins: refs.flatMap(
      (ref, r) => readRef(ref, { path: [...place.path, r], findings }, plugins) ?? [],
    ),
  };
}

const FORMER_FORM =
  "filters, scorers and picker of a profile are written otherwise now: list each as " +
  "{type, parameters} under scheduler.plugins, and name it in the profile's " +
  "plugins: [{pluginRef: queue-scorer, weight: 2}]; docs/configuration.md has an example";

function readRef(
  written: unknown,
  place: { readonly path: ConfigPath; readonly findings: Findings },
  plugins: PluginSet,
): ProfilePluginSpec | undefined {
  const { path, findings } = place;
  const ref = readFields(REF, written, place);
  if (ref === undefined) return undefined;
  const pluginRef = ref.pluginRef ?? "";
  if (pluginRef === "") {
    const [section, profile, , position] = path;
    const where = `${section}[${profile}].plugins[${position}]`;
    findings.mistake([...path, "pluginRef"], `${where} is missing a 'pluginRef'`);
    return undefined;
  }
  const subject = `${path[0]}[${path[1]}]`;
  plugins.check({ name: pluginRef, path: [...path, "pluginRef"], demand: ANY_PLUGIN, subject });
  const { definition } = plugins.get(pluginRef) ?? {};
  if (definition !== undefined && !ofKinds(...PROFILE_KINDS).fits(definition))
    findings.note(
      path,
      `${definition.type} is neither a filter nor a scorer nor a picker: in a profile it does nothing`,
    );
  if (typeof ref.weight !== "number") return { pluginRef };
  if (definition === undefined || definition.kinds.includes("scorer"))
    // Not -0, which JSON does not have.
    return { pluginRef, weight: ref.weight === 0 ? 0 : ref.weight };
  findings.note([...path, "weight"], `${definition.type} is not a scorer: its weight does nothing`);
  return { pluginRef };
}

/** llm-d lets a profile list whatever it likes. */
const ANY_PLUGIN = { what: "a plugin", fits: () => true };

function hasUnknown(plugins: PluginSet) {
  return (profile: SchedulingProfileSpec) =>
    profile.plugins.some(({ pluginRef }) => plugins.get(pluginRef)?.definition === undefined);
}

/** llm-d's words for a configuration without one. */
const HANDLER = {
  ...ofKinds("profile-handler"),
  what: "a profile-handler: no profile handler configured",
};

/** `profileCount` as written, before one is filled in. */
function fillInHandler(profileCount: number, plugins: PluginSet, findings: Findings): void {
  const [handler, second] = plugins.ofKind("profile-handler");
  // A type that is a mistake may have been meant as the handler.
  const mayBeMistyped = plugins.entries().some(({ definition }) => definition === undefined);
  if (handler === undefined) {
    if (profileCount <= 1) plugins.fillIn(DEFAULT_HANDLER, HANDLER);
    else if (!mayBeMistyped)
      findings.mistake(
        ["plugins"],
        `no profile handler configured, and there are ${profileCount} scheduling profiles; ` +
          "list one, e.g. disagg-profile-handler",
      );
  } else if (second !== undefined) {
    findings.mistake(
      pathOf(second),
      `multiple profile handlers found (${quoted(handler.name)}, ${quoted(second.name)}); ` +
        "only one is allowed",
    );
  } else if (profileCount > 1 && handler.definition!.type === DEFAULT_HANDLER) {
    findings.mistake(
      pathOf(handler),
      `single-profile-handler cannot support multiple scheduling profiles; ${profileCount} are listed`,
    );
  }
}

function pathOf({ index }: PluginEntry): ConfigPath {
  return index === undefined ? ["plugins"] : ["plugins", index];
}

function complete(
  { path, name, plugins: refs }: ReadProfile,
  plugins: PluginSet,
  findings: Findings,
): SchedulingProfileSpec {
  const isOf = (kind: (typeof PROFILE_KINDS)[number], { pluginRef }: ProfilePluginSpec) =>
    plugins.get(pluginRef)?.definition?.kinds.includes(kind) === true;
  const [picker, second] = refs.filter((ref) => isOf("picker", ref));
  if (second !== undefined)
    findings.mistake(
      [...path, "plugins"],
      `${quoted(second.pluginRef)} cannot be the picker: ${quoted(picker!.pluginRef)} is it already`,
    );
  for (const [kind, max] of [
    ["filter", SCHEDULER_LIMITS.filtersMax],
    ["scorer", SCHEDULER_LIMITS.scorersMax],
  ] as const) {
    const count = refs.filter((ref) => isOf(kind, ref)).length;
    if (count > max)
      findings.mistake([...path, "plugins"], `expected at most ${max} ${kind}s; found ${count}`);
  }
  const weighted = refs.map((ref) =>
    isOf("scorer", ref) ? { ...ref, weight: ref.weight ?? DEFAULT_WEIGHT } : ref,
  );
  const [fallback] = plugins.ofKind("picker");
  if (picker !== undefined || fallback === undefined) return { name, plugins: weighted };
  return { name, plugins: [...weighted, { pluginRef: fallback.name }] };
}
