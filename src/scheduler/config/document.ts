// A configuration as it was written, cut into its sections. A mistake in one section hides none in
// another: each is read by itself.

import { type Findings, quoted } from "./findings.ts";
import { SCHEDULER_LIMITS } from "./limits.ts";
import { didYouMean } from "./near-miss.ts";
import { describeFound, unknownField } from "./shape.ts";

export const API_VERSION = "llm-d.ai/v1alpha1";
const DEPRECATED_API_VERSION = "inference.networking.x-k8s.io/v1alpha1";
export const KIND = "EndpointPickerConfig";

const SECTIONS = [
  "apiVersion",
  "kind",
  "featureGates",
  "plugins",
  "schedulingProfiles",
  "dataLayer",
  "flowControl",
  "requestHandler",
  "saturationDetector",
  "parser",
] as const;

/** Sections by name, unread. Those that are null are absent, as in Go. */
export type ConfigDocument = { readonly [Section in (typeof SECTIONS)[number]]?: unknown };

export function readDocument(input: unknown, findings: Findings): ConfigDocument | undefined {
  if (!isObject(input)) {
    findings.mistake([], `expected an ${KIND}; found ${describeFound(input)}`);
    return undefined;
  }
  if (!isShallow(input)) {
    findings.mistake([], `nested deeper than ${SCHEDULER_LIMITS.depthMax} levels`);
    return undefined;
  }
  const known: readonly string[] = SECTIONS;
  for (const key of Object.keys(input))
    if (!known.includes(key)) findings.mistake([key.slice(0, 128)], unknownField(key, known));
  const document: ConfigDocument = Object.fromEntries(
    SECTIONS.flatMap((name) => (present(input[name]) ? [[name, input[name]]] : [])),
  );
  checkKind(document, findings);
  return document;
}

function checkKind({ apiVersion, kind }: ConfigDocument, findings: Findings): void {
  if (kind !== undefined && kind !== KIND)
    findings.mistake(["kind"], `expected ${KIND}; found ${nameOf(kind)}`);
  if (apiVersion === undefined || apiVersion === API_VERSION) return;
  if (apiVersion === DEPRECATED_API_VERSION) {
    findings.note(["apiVersion"], `${DEPRECATED_API_VERSION} is deprecated: use ${API_VERSION}`);
  } else {
    const hint = typeof apiVersion === "string" ? didYouMean(apiVersion, [API_VERSION]) : "";
    findings.mistake(["apiVersion"], `expected ${API_VERSION}; found ${nameOf(apiVersion)}${hint}`);
  }
}

function nameOf(value: unknown): string {
  return typeof value === "string" ? quoted(value) : describeFound(value);
}

/** Entries of a list that may be absent; undefined, with a mistake, for what is no list or too long. */
export function readList(
  value: unknown,
  max: number,
  { path, findings }: { readonly path: readonly (string | number)[]; readonly findings: Findings },
): readonly unknown[] | undefined {
  if (!present(value)) return [];
  if (!Array.isArray(value)) {
    findings.mistake(path, `expected a list; found ${describeFound(value)}`);
    return undefined;
  }
  if (value.length > max) {
    findings.mistake(path, `expected at most ${max} entries; found ${value.length}`);
    return undefined;
  }
  return value as unknown[];
}

export function present(value: unknown): boolean {
  return value !== undefined && value !== null;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Without recursion: what is too deep would exhaust the stack. */
function isShallow(root: unknown): boolean {
  let level: unknown[] = [root];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > SCHEDULER_LIMITS.depthMax) return false;
    const next: unknown[] = [];
    for (const value of level)
      if (typeof value === "object" && value !== null)
        for (const inner of Object.values(value)) next.push(inner);
    level = next;
  }
  return true;
}
