// Profiles that plugins' parameters name, against those that there are.

import { type ConfigPath, type Findings, quoted } from "./findings.ts";
import type { PluginEntry, PluginSet } from "./plugin-set.ts";

export function checkProfileNames(
  profiles: readonly string[],
  plugins: PluginSet,
  findings: Findings,
): void {
  for (const entry of plugins.entries()) checkNames(entry, profiles, findings);
}

function checkNames(
  { index, definition, parameters }: PluginEntry,
  profiles: readonly string[],
  findings: Findings,
): void {
  // What is filled in names none.
  if (definition === undefined || parameters === undefined || index === undefined) return;
  const path: ConfigPath = ["plugins", index];
  const { profilesMax } = definition;
  if (profilesMax !== undefined && profiles.length > profilesMax)
    findings.mistake(
      path,
      `${definition.type} takes at most ${profilesMax} scheduling profile; ${profiles.length} are listed`,
    );
  const there = profiles.map(quoted).join(", ");
  for (const named of definition.profilesNamed?.(parameters, profiles) ?? []) {
    if (profiles.includes(named.name)) continue;
    const where = [...path, "parameters", ...named.path.split(".")];
    const message = `no scheduling profile has this name; there are ${there}`;
    if (named.isNeeded === true)
      findings.mistake(where, `${message}. Without it every request is turned away`);
    else findings.note(where, `${message}: ${named.without}`);
  }
}
