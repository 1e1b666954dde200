// Which engine serves behind an endpoint, by its labels.

import { ENGINE_TYPES, type EngineType } from "../protocol/messages.ts";

/** Label that names the engine, and its older name. */
const ENGINE_LABELS = ["llm-d.ai/engine-type", "inference.networking.k8s.io/engine-type"];
const ENGINE_DEFAULT = "vllm";

export function engineOf(labels: Readonly<Record<string, string>>): EngineType {
  const label = ENGINE_LABELS.map((name) => labels[name]).find((name) => name !== undefined);
  // The pool's specification may know engines that this release does not: the label decides there.
  return ENGINE_TYPES.find((type) => type === label) ?? ENGINE_DEFAULT;
}
