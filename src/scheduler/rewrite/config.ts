// InferenceModelRewrite as a pool's configuration: which model names clients may say, and which
// models the engines are then asked for.
//
// Source: llm-d-router api v1alpha2 InferenceModelRewrite. The pool it stands in takes the place of
// `poolRef`.

import { z } from "zod";
import { wholeNumber } from "../config/whole-number.ts";

export const MODEL_REWRITE_LIMITS = {
  rewritesMax: 64,
  rulesMax: 64,
  matchesMax: 64,
  targetsMax: 64,
  weightMax: 1_000_000,
} as const;

const modelName = z.string().min(1).max(256);

const targetSchema = z.strictObject({
  weight: wholeNumber(1, MODEL_REWRITE_LIMITS.weightMax)
    .optional()
    .describe("Share among the rule's targets. Leave it out of all of them for equal shares"),
  modelRewrite: modelName.describe("The model the engine is asked for"),
});

const ruleSchema = z.strictObject({
  matches: z
    .array(
      z.strictObject({
        model: z.strictObject({ type: z.literal("Exact").default("Exact"), value: modelName }),
      }),
    )
    .max(MODEL_REWRITE_LIMITS.matchesMax)
    .default([])
    .describe("Model names of clients, any of them; empty: every request of the pool"),
  targets: z.array(targetSchema).min(1).max(MODEL_REWRITE_LIMITS.targetsMax),
});

/** One of a pool's rewrites. */
export const rewriteSchema = z.strictObject({
  name: z.string().min(1).max(253),
  creationTimestamp: z.iso
    .datetime({ precision: 0, error: "expected a time such as 2026-01-31T12:00:00Z" })
    .optional()
    .describe("Where two rewrites match, the older counts; without one: newer than all with one"),
  rules: z.array(ruleSchema).min(1).max(MODEL_REWRITE_LIMITS.rulesMax),
});

/** A pool's rewrites. */
export const modelRewritesSchema = z
  .array(rewriteSchema)
  .max(MODEL_REWRITE_LIMITS.rewritesMax)
  .superRefine((rewrites, context) => {
    const names = new Set<string>();
    rewrites.forEach(({ name }, index) => {
      if (names.has(name)) {
        const message = `two rewrites of the pool are named ${name}`;
        context.addIssue({ code: "custom", path: [index, "name"], message });
      }
      names.add(name);
    });
  });

export type ModelRewriteConfig = z.output<typeof rewriteSchema>;
export type RewriteTarget = z.output<typeof targetSchema>;

/** The oldest first; without a time, after all that have one, in the order of the configuration. */
export function byAge(rewrites: readonly ModelRewriteConfig[]): ModelRewriteConfig[] {
  // Times of one precision and zone order as texts. Any time comes before "~".
  const age = (rewrite: ModelRewriteConfig) => rewrite.creationTimestamp ?? "~";
  return rewrites.toSorted((a, b) => (age(a) < age(b) ? -1 : age(a) > age(b) ? 1 : 0));
}

/** What is allowed and yet hardly meant. */
export interface RewriteWarning {
  /** Within the pool's `modelRewrites`. */
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** Targets that are never chosen, and matches that an older rule takes away. */
export function findRewriteWarnings(rewrites: readonly ModelRewriteConfig[]): RewriteWarning[] {
  const found: RewriteWarning[] = [];
  rewrites.forEach(({ rules }, i) => {
    rules.forEach(({ targets }, r) => {
      if (targets.every((target) => target.weight === undefined)) return;
      targets.forEach((target, t) => {
        if (target.weight !== undefined) return;
        const message =
          `${target.modelRewrite} has no weight and is never chosen, because other targets of ` +
          "the rule have one. Give every target a weight, or none";
        found.push({ path: [i, "rules", r, "targets", t], message });
      });
    });
  });
  return [...found, ...findShadowed(rewrites)];
}

function findShadowed(rewrites: readonly ModelRewriteConfig[]): RewriteWarning[] {
  const found: RewriteWarning[] = [];
  const takenBy = new Map<string | null, string>();
  for (const rewrite of byAge(rewrites)) {
    const i = rewrites.indexOf(rewrite);
    rewrite.rules.forEach(({ matches }, r) => {
      const models = matches.length === 0 ? [null] : matches.map((match) => match.model.value);
      models.forEach((model, m) => {
        const taker = takenBy.get(model);
        if (taker === undefined) {
          takenBy.set(model, rewrite.name);
          return;
        }
        const what = model === null ? "requests that nothing else matches" : model;
        const path = model === null ? [i, "rules", r] : [i, "rules", r, "matches", m];
        found.push({ path, message: `never used: an earlier rule, of ${taker}, takes ${what}` });
      });
    });
  }
  return found;
}
