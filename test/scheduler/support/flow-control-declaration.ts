// What every flow-control plugin owes its configuration.

import { describe, expect, it } from "vitest";
import type {
  PluginDefinition,
  PluginKind,
  PluginRole,
  Stability,
} from "../../../src/scheduler/plugin.ts";

export interface FlowControlFacts {
  readonly role: keyof typeof KINDS;
  readonly stability: Stability;
  /** The least that must be written. */
  readonly least: object;
  /** The same with llm-d's defaults. */
  readonly filled: object;
  readonly refused: readonly object[];
}

const KINDS = {
  "fairness policy": "fairness-policy",
  "ordering policy": "ordering-policy",
  "usage limit policy": "usage-limit-policy",
  "saturation detector": "saturation-detector",
  "eviction filter": "eviction-filter",
  "eviction ordering policy": "eviction-order",
} as const satisfies { readonly [role in PluginRole]?: PluginKind };

export function describeFlowControl(plugin: unknown, facts: FlowControlFacts): void {
  const { type, kinds, role, stability, params } = plugin as PluginDefinition;

  describe(`${type}`, () => {
    it("says what may refer to it, and how settled it is", () => {
      expect(kinds).toEqual([KINDS[facts.role]]);
      expect(role).toBe(facts.role);
      expect(stability ?? "beta").toBe(facts.stability);
    });

    it("has llm-d's defaults", () => {
      expect(params.parse(facts.least)).toEqual(facts.filled);
    });

    it.for(facts.refused)("refuses %j", (written) => {
      expect(params.safeParse(written).success).toBe(false);
    });
  });
}
