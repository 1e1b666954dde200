// Metrics of decisions.

import { disaggregationOf, type Split } from "../scheduler/disaggregation/pick-stages.ts";
import { StagedProfiles } from "../scheduler/disaggregation/stages.ts";
import type { EndpointPicker } from "../scheduler/endpoint-picker.ts";
import type { MetricRegistry } from "../telemetry/metrics.ts";
import { METRIC } from "../telemetry/names.ts";

/** One decision, or none for want of endpoints: `endpoint` is "" then. */
export function countDecision(
  registry: MetricRegistry,
  decision: {
    readonly status: "success" | "failure";
    readonly model: string;
    readonly endpoint: string;
  },
): void {
  const { status, model, endpoint } = decision;
  const labels = { status, target_model_name: model, endpoint_name: endpoint };
  registry.inc(METRIC.schedulerAttemptsTotal, labels);
}

/** Where the configuration may split requests, whether it did. */
export function countSplit(
  registry: MetricRegistry,
  { plugins }: EndpointPicker,
  model: string,
  split: Split,
): void {
  const { name, type, plugin } = plugins.handler;
  if (!(plugin instanceof StagedProfiles)) return;
  const decision = { model_name: model, decision_type: disaggregationOf(split) };
  registry.inc(METRIC.disaggDecisionsTotal, { plugin_name: name, plugin_type: type, ...decision });
}
