// Which model a request is sent to the engines with.
//
//   the rule       exact matches before generic rules; then the oldest rewrite; then the rule's order
//   its target     by weight; no weights: equal shares; some weights: only those that have one
//   without a rule the header's target, else the client's own name
//
// Source: llm-d-router pkg/epp/datastore/modelrewritestore.go and requestcontrol/director.go. As
// there, a rule overrides the header, and a generic rule also serves a request that names no model.

import { byAge, type ModelRewriteConfig, type RewriteTarget } from "./config.ts";
import type { Rng } from "../support/rng.ts";

/** The one header that names a model for the engine, and its alias. The first counts. */
export const MODEL_REWRITE_HEADERS = [
  "x-llm-d-model-name-rewrite",
  "x-gateway-model-name-rewrite",
] as const;

/** What a request says about its model. */
export interface NamedModel {
  /** The client's; null: the body names none. */
  readonly model: string | null;
  /** Of MODEL_REWRITE_HEADERS, where a trusted hop set it. Never a client's own. */
  readonly header?: string;
}

export interface ResolvedModel {
  /** For the engine. */
  readonly target: string;
  /** The rewrite that chose it; null: no rule matched. */
  readonly rewrite: string | null;
}

interface Rule {
  readonly rewrite: string;
  readonly targets: readonly RewriteTarget[];
}

/** The rewrites of one pool, for lookups. */
export class ModelRewrites {
  readonly #exact = new Map<string, Rule>();
  readonly #generic: Rule | undefined;

  /** `later` are looked at after all of `rewrites`, whatever their age. */
  constructor(rewrites: readonly ModelRewriteConfig[], later: readonly ModelRewriteConfig[] = []) {
    for (const { name, rules } of [...byAge(rewrites), ...byAge(later)]) {
      for (const { matches, targets } of rules) {
        const rule = { rewrite: name, targets };
        if (matches.length === 0) this.#generic ??= rule;
        for (const { model } of matches) {
          if (!this.#exact.has(model.value)) this.#exact.set(model.value, rule);
        }
      }
    }
  }

  /** Names that rules match exactly: a pool serves them besides its engines' own. */
  get models(): Iterable<string> {
    return this.#exact.keys();
  }

  /** What a request that names no model can become; empty: nothing. */
  get targetsOfUnnamed(): readonly string[] {
    return this.#generic?.targets.map((target) => target.modelRewrite) ?? [];
  }

  /** The model to ask the engine for; undefined if the request names none and no rule finds one. */
  resolve({ model, header }: NamedModel, rng: Rng): ResolvedModel | undefined {
    const rule = (model === null ? undefined : this.#exact.get(model)) ?? this.#generic;
    if (rule !== undefined) {
      return { target: chooseTarget(rule.targets, rng), rewrite: rule.rewrite };
    }
    const target = header ?? model;
    return target === null ? undefined : { target, rewrite: null };
  }
}

/** At least one target. Draws once. */
function chooseTarget(targets: readonly RewriteTarget[], rng: Rng): string {
  const total = targets.reduce((sum, target) => sum + (target.weight ?? 0), 0);
  const draw = rng();
  if (total === 0) return targets[Math.floor(draw * targets.length)]!.modelRewrite;
  let left = Math.floor(draw * total);
  for (const { weight = 0, modelRewrite } of targets) {
    if (left < weight) return modelRewrite;
    left -= weight;
  }
  throw new Error("invariant broken: a draw lies beyond the sum of the weights");
}
