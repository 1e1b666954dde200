// disaggregatedset-rollout-screener: keep each request within one revision of a rollout.
//
//   count[r][role] = the pool's endpoints of revision r and the role, within the scope
//   covered        = revisions with count > 0 for every required role
//   weight[r]      = sum       Σ over the roles of count[r][role]
//                    max-role  count[r][role with the most endpoints in all; ties: the first listed]
//   left           = candidates of covered revisions that the request's headers ask for
//   kept           = one revision of those left, drawn by weight
//
// A header names a label's value. A strict one leaves the endpoints with that value, and nobody where
// there is none; then each preferred one does, and leaves all where there is none. Whatever they are
// about, one revision is drawn of what they left. Every header selector also tells the client the label
// of the endpoint that served, so that a later request can ask for the same.
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/screener/disaggregatedsetrollout. llm-d
// counts ready pods that it watches; here an endpoint counts while it is a member of the pool. An
// endpoint without a revision is kept by mode `disabled` only. Counts are no capacities: a revision of
// faster GPUs gets its share by number. O(n), with a few label lookups an endpoint.

import { z } from "zod";
import { labelsOf } from "../../candidates.ts";
import { type Labels, labelOf } from "../../labels.ts";
import { meets, parseLabelSelector, type LabelRequirement } from "../../label-selector.ts";
import { headerName } from "../../header-names.ts";
import { requestHeader } from "../../model/inference-request.ts";
import {
  defineScreener,
  type PickContext,
  type ResponseHeader,
  type Screener,
} from "../../plugin.ts";

/** Revisions told apart in one decision; a rollout has two or three. Later ones are not covered. */
export const REVISIONS_MAX = 64;
const ROLES_MAX = 16;
/** As many as the Worker passes on. */
const SELECTORS_MAX = 8;

const headerSelector = z.strictObject({
  name: z.string().min(1).describe("Name of the selector"),
  headerName: headerName.describe("Header of requests and answers"),
  labelKey: z.string().min(1).describe("Label whose value the header holds"),
  mode: z
    .enum(["strict", "prefer"])
    .describe("Where no endpoint has the value: strict leaves nobody, prefer all"),
});

const revisionGating = z
  .strictObject({
    revisionLabelKey: z
      .string()
      .default("disaggregatedset.x-k8s.io/revision")
      .describe("Label that names an endpoint's revision"),
    roleLabelKey: z
      .string()
      .default("disaggregatedset.x-k8s.io/role")
      .describe("Label that names its role"),
    mode: z.enum(["sum", "max-role", "disabled"]).describe("How revisions are weighed"),
    requireRoles: z
      .strictObject({ values: z.array(z.string().min(1)).min(1).max(ROLES_MAX) })
      .optional()
      .describe("Roles without which a revision gets no request"),
  })
  .superRefine(({ mode, requireRoles }, context) => {
    const values = requireRoles?.values ?? [];
    const issue = (message: string) =>
      context.addIssue({ code: "custom", path: ["requireRoles"], message });
    if (mode !== "disabled" && values.length === 0) issue(`is required when mode is ${mode}`);
    if (new Set(values).size < values.length) issue("values has a role twice");
  });

const params = z.strictObject({
  scope: z.strictObject({
    labelSelector: z
      .string()
      .min(1)
      .superRefine((text, context) => {
        const parsed = parseLabelSelector(text);
        if (!parsed.ok) context.addIssue({ code: "custom", message: parsed.message });
      })
      .describe("Endpoints that are counted, e.g. app=vllm"),
  }),
  headerSelectors: z
    .array(headerSelector)
    .max(SELECTORS_MAX)
    .default([])
    .superRefine((selectors, context) => {
      for (const field of ["name", "headerName"] as const) {
        const values = selectors.map((selector) => selector[field]);
        if (new Set(values).size < values.length)
          context.addIssue({ code: "custom", message: `two selectors have the same ${field}` });
      }
    })
    .describe("Labels that requests may ask for, and answers tell"),
  revisionGating,
});
type Params = z.output<typeof params>;
type HeaderSelector = Params["headerSelectors"][number];

/** Endpoints of a revision, by role in the order of requireRoles. */
type RoleCounts = Uint32Array;

class DisaggregatedsetRolloutScreener implements Screener {
  readonly #scope: readonly LabelRequirement[];
  readonly #gating: Params["revisionGating"];
  readonly #roles: readonly string[];
  /** Strict ones first: what is preferred is looked for among what they leave. */
  readonly #selectors: readonly HeaderSelector[];
  readonly responseHeaders: readonly ResponseHeader[];

  constructor({ scope, headerSelectors, revisionGating: gating }: Params) {
    const parsed = parseLabelSelector(scope.labelSelector);
    this.#scope = parsed.ok ? parsed.requirements : [];
    this.#gating = gating;
    this.#roles = gating.requireRoles?.values ?? [];
    this.#selectors = [
      ...headerSelectors.filter(({ mode }) => mode === "strict"),
      ...headerSelectors.filter(({ mode }) => mode === "prefer"),
    ];
    this.responseHeaders = headerSelectors.map(({ headerName, labelKey }) => ({
      name: headerName,
      profile: null,
      valueOf: ({ labels }) => labelOf(labels, labelKey) ?? "",
    }));
  }

  screen(context: PickContext, keep: Uint8Array): void {
    const key = this.#gating.revisionLabelKey;
    const weights = this.#gating.mode === "disabled" ? undefined : this.#weightsOf(context);
    if (weights !== undefined)
      keepWhere(context, keep, (labels) => weights.has(labelOf(labels, key) ?? ""));
    this.#select(context, keep);
    if (weights === undefined) return;
    const drawn = drawRevision(leftWeights(context, keep, { weights, key }), context);
    keepWhere(context, keep, (labels) => labelOf(labels, key) === drawn);
  }

  #select(context: PickContext, keep: Uint8Array): void {
    for (const { headerName, labelKey, mode } of this.#selectors) {
      const asked = requestHeader(context.request, headerName) ?? "";
      if (asked === "") continue;
      const isAsked = (labels: Labels) => labelOf(labels, labelKey) === asked;
      if (mode === "strict" || isAnyKept(context, keep, isAsked)) keepWhere(context, keep, isAsked);
    }
  }

  /** Weights of the covered revisions. */
  #weightsOf(context: PickContext): Map<string, number> {
    const counts = this.#countRoles(context);
    for (const [revision, ofRoles] of counts) if (ofRoles.includes(0)) counts.delete(revision);
    const dominant = dominantRole([...counts.values()], this.#roles.length);
    const isSum = this.#gating.mode === "sum";
    const weightOf = (ofRoles: RoleCounts) =>
      isSum ? ofRoles.reduce((sum, count) => sum + count, 0) : ofRoles[dominant]!;
    return new Map([...counts].map(([revision, ofRoles]) => [revision, weightOf(ofRoles)]));
  }

  #countRoles(context: PickContext): Map<string, RoleCounts> {
    const { revisionLabelKey, roleLabelKey } = this.#gating;
    const { isPresent, slotCount } = context.endpoints;
    const counts = new Map<string, RoleCounts>();
    for (let slot = 0; slot < slotCount; slot++) {
      if (isPresent[slot] !== 1) continue;
      const labels = labelsOf(context, slot);
      const revision = labelOf(labels, revisionLabelKey) ?? "";
      const role = this.#roles.indexOf(labelOf(labels, roleLabelKey) ?? "");
      if (revision === "" || role < 0 || !meets(labels, this.#scope)) continue;
      let ofRoles = counts.get(revision);
      if (ofRoles === undefined) {
        if (counts.size >= REVISIONS_MAX) continue;
        ofRoles = new Uint32Array(this.#roles.length);
        counts.set(revision, ofRoles);
      }
      ofRoles[role]! += 1;
    }
    return counts;
  }
}

/** Index of the role with the most endpoints over all revisions. */
function dominantRole(counts: readonly RoleCounts[], roles: number): number {
  const totals = Array.from({ length: roles }, (_, role) =>
    counts.reduce((sum, ofRoles) => sum + ofRoles[role]!, 0),
  );
  return totals.indexOf(Math.max(...totals));
}

/** Weights of the revisions that are left, in the order of their names: a draw needs one. */
function leftWeights(
  context: PickContext,
  keep: Uint8Array,
  { weights, key }: { readonly weights: ReadonlyMap<string, number>; readonly key: string },
): [string, number][] {
  const found = new Map<string, number>();
  for (let i = 0; i < context.candidateCount; i++) {
    if (keep[i] === 0) continue;
    const revision = labelOf(labelsOf(context, context.candidates[i]!), key) ?? "";
    const weight = weights.get(revision);
    if (weight !== undefined) found.set(revision, weight);
  }
  return [...found].toSorted(([one], [other]) => (one < other ? -1 : 1));
}

/** Undefined where there is none. */
function drawRevision(
  weights: readonly (readonly [string, number])[],
  { rng }: PickContext,
): string | undefined {
  const last = weights.at(-1);
  if (weights.length <= 1) return last?.[0];
  let left = rng() * weights.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [revision, weight] of weights) {
    left -= weight;
    if (left < 0) return revision;
  }
  return last?.[0];
}

function isAnyKept(
  context: PickContext,
  keep: Uint8Array,
  keeps: (labels: Labels) => boolean,
): boolean {
  for (let i = 0; i < context.candidateCount; i++)
    if (keep[i] === 1 && keeps(labelsOf(context, context.candidates[i]!))) return true;
  return false;
}

function keepWhere(
  context: PickContext,
  keep: Uint8Array,
  keeps: (labels: Labels) => boolean,
): void {
  for (let i = 0; i < context.candidateCount; i++)
    if (!keeps(labelsOf(context, context.candidates[i]!))) keep[i] = 0;
}

export const disaggregatedsetRolloutScreener = defineScreener({
  type: "disaggregatedset-rollout-screener",
  stability: "alpha",
  params,
  requestHeaders: ({ headerSelectors }: Params) =>
    headerSelectors.map(({ headerName }) => headerName),
  answerHeaders: ({ headerSelectors }: Params) => headerSelectors.map((each) => each.headerName),
  create: (filled) => new DisaggregatedsetRolloutScreener(filled),
});
