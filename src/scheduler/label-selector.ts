// Kubernetes' label selectors: which endpoints, by their labels.
//
//   In            the label is there, with one of the values
//   NotIn         the label is absent, or has another value
//   Exists        the label is there
//   DoesNotExist  the label is absent
//
// All requirements must hold; a selector without one selects everything.
//
// Source: k8s.io/apimachinery pkg/apis/meta/v1 (LabelSelectorAsSelector) and pkg/labels/selector.go.

import { z } from "zod";
import { type Labels, labelOf } from "./labels.ts";

export interface LabelRequirement {
  readonly key: string;
  readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  readonly values: readonly string[];
}

/** Requirements of one selector, and values of one requirement. */
export const LABEL_SELECTOR_LIMITS = { requirementsMax: 64, valuesMax: 64 } as const;

const key = z.string().min(1).describe("Name of a label");

const matchExpression = z
  .strictObject({
    key,
    operator: z.enum(["In", "NotIn", "Exists", "DoesNotExist"]),
    values: z.array(z.string()).max(LABEL_SELECTOR_LIMITS.valuesMax).default([]),
  })
  .superRefine(({ operator, values }, context) => {
    const needsValues = operator === "In" || operator === "NotIn";
    if (needsValues === values.length > 0) return;
    const message = needsValues
      ? `operator ${operator} needs at least one value`
      : `operator ${operator} takes no values`;
    context.addIssue({ code: "custom", path: ["values"], message });
  });

/** A selector as Kubernetes' objects have it. */
export const labelSelectorSchema = z.strictObject({
  matchLabels: z
    .record(key, z.string())
    .default({})
    .describe("Labels that must have exactly these values"),
  matchExpressions: z
    .array(matchExpression)
    .max(LABEL_SELECTOR_LIMITS.requirementsMax)
    .default([])
    .describe("Requirements, all of which must hold"),
});

export function requirementsOf({
  matchLabels,
  matchExpressions,
}: z.output<typeof labelSelectorSchema>): LabelRequirement[] {
  const equalities = Object.entries(matchLabels).map(([name, value]): LabelRequirement => ({
    key: name,
    operator: "In",
    values: [value],
  }));
  return [...equalities, ...matchExpressions];
}

/** Allocates nothing. */
export function meets(labels: Labels, requirements: readonly LabelRequirement[]): boolean {
  for (const requirement of requirements) if (!meetsOne(labels, requirement)) return false;
  return true;
}

function meetsOne(labels: Labels, { key: name, operator, values }: LabelRequirement): boolean {
  const value = labelOf(labels, name);
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}

export type ParsedLabelSelector =
  | { readonly ok: true; readonly requirements: readonly LabelRequirement[] }
  /** What is wrong and what is allowed; for people. */
  | { readonly ok: false; readonly message: string };

const NAME = "[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?";
const SET = new RegExp(`^(${NAME})\\s+(in|notin)\\s*\\(([^()]*)\\)$`);
const EQUALITY = new RegExp(`^(${NAME})\\s*(==|=|!=)\\s*([A-Za-z0-9._-]*)$`);
const EXISTENCE = new RegExp(`^(!?)\\s*(${NAME})$`);
const SYNTAX = "expected key=value, key!=value, key in (a,b), key notin (a,b), key or !key";

/** Reads the text form, e.g. `app=vllm,tier in (a,b),!canary`. Never throws. */
export function parseLabelSelector(text: string): ParsedLabelSelector {
  const requirements: LabelRequirement[] = [];
  // A comma between brackets is part of a set.
  for (const [i, part] of text.split(/,(?![^()]*\))/).entries()) {
    const requirement = parseRequirement(part.trim());
    // By its position: a configuration's texts are not shown.
    if (requirement === undefined)
      return { ok: false, message: `part ${i + 1} is no requirement: ${SYNTAX}` };
    requirements.push(requirement);
  }
  const { requirementsMax } = LABEL_SELECTOR_LIMITS;
  return requirements.length > requirementsMax
    ? { ok: false, message: `more than ${requirementsMax} requirements` }
    : { ok: true, requirements };
}

function parseRequirement(part: string): LabelRequirement | undefined {
  const set = SET.exec(part);
  if (set !== null) {
    const [, name, , operator, list] = set;
    const values = list!.split(",", LABEL_SELECTOR_LIMITS.valuesMax).map((value) => value.trim());
    return { key: name!, operator: operator === "in" ? "In" : "NotIn", values };
  }
  const equality = EQUALITY.exec(part);
  if (equality !== null) {
    const [, name, , operator, value] = equality;
    return { key: name!, operator: operator === "!=" ? "NotIn" : "In", values: [value!] };
  }
  const existence = EXISTENCE.exec(part);
  if (existence === null) return undefined;
  const [, bang, name] = existence;
  return { key: name!, operator: bang === "!" ? "DoesNotExist" : "Exists", values: [] };
}
