// `featureGates`: a list of `name`, `name=true` or `name=false`; the last of a name holds.

import { z } from "zod";
import { readList } from "./document.ts";
import { type ConfigPath, type Findings, quoted } from "./findings.ts";
import { SCHEDULER_LIMITS } from "./limits.ts";
import { didYouMean } from "./near-miss.ts";
import { readShape } from "./shape.ts";

const GATES = { flowControl: false, haPopulateNonLeaderDatastore: true } as const;
export type FeatureGate = keyof typeof GATES;
export type FeatureGates = { readonly [Gate in FeatureGate]: boolean };

/** llm-d had them once; they are mistakes there, too. */
const REMOVED_GATES: readonly string[] = ["dataLayer", "enableLegacyMetrics"];

/** As Go's strconv.ParseBool reads them, in any case. */
const VALUES: ReadonlyMap<string, boolean> = new Map([
  ["1", true],
  ["t", true],
  ["true", true],
  ["0", false],
  ["f", false],
  ["false", false],
]);

export function readFeatureGates(section: unknown, findings: Findings): FeatureGates {
  const gates: { [Gate in FeatureGate]: boolean } = { ...GATES };
  const place = { path: ["featureGates"], findings };
  const list = readList(section, SCHEDULER_LIMITS.featureGatesMax, place) ?? [];
  for (const [i, written] of list.entries()) {
    const path: ConfigPath = ["featureGates", i];
    const text = readShape(z.string(), written, { path, findings });
    if (text === undefined) continue;
    // Of several the first divides, as in llm-d: what is behind it is no value then.
    const at = text.indexOf("=");
    const name = at < 0 ? text : text.slice(0, at);
    const value = at < 0 ? "true" : text.slice(at + 1);
    const isOn = VALUES.get(value.trim().toLowerCase());
    if (!isGate(name)) findings.mistake(path, unknownGate(name));
    else if (isOn === undefined)
      findings.mistake(
        path,
        `${quoted(value)} is not a valid value for the feature gate ${name}; expected true or false`,
      );
    else gates[name] = isOn;
    if (name === "haPopulateNonLeaderDatastore" && isOn === false)
      findings.note(path, `${name} has no effect: a pool is held by one object, without followers`);
  }
  return gates;
}

/** All of them, as they are written. */
export function formatFeatureGates(gates: FeatureGates): string[] {
  return Object.entries(gates).map(([name, isOn]) => `${name}=${isOn}`);
}

function isGate(name: string): name is FeatureGate {
  return Object.hasOwn(GATES, name);
}

function unknownGate(name: string): string {
  const known = Object.keys(GATES);
  const message = `feature gate ${quoted(name)} is unknown or unregistered`;
  if (REMOVED_GATES.includes(name)) return `${message}: llm-d has removed it, leave it out`;
  return `${message}${didYouMean(name, known)}; known are ${known.join(", ")}`;
}
