import { describe, expect, it } from "vitest";
import {
  LABEL_SELECTOR_LIMITS,
  labelSelectorSchema,
  meets,
  parseLabelSelector,
  requirementsOf,
} from "../../src/scheduler/label-selector.ts";

const labels = { app: "vllm", tier: "a", canary: "" };

describe("meets", () => {
  it.for<{ name: string; selector: object; want: boolean }>([
    { name: "no requirement", selector: {}, want: true },
    { name: "an equal label", selector: { matchLabels: { app: "vllm" } }, want: true },
    { name: "another value", selector: { matchLabels: { app: "sglang" } }, want: false },
    { name: "an absent label", selector: { matchLabels: { zone: "" } }, want: false },
    { name: "an inherited property", selector: { matchLabels: { toString: "" } }, want: false },
    {
      name: "only some of the requirements",
      selector: {
        matchLabels: { app: "vllm" },
        matchExpressions: [
          { key: "tier", operator: "Exists" },
          { key: "x", operator: "Exists" },
        ],
      },
      want: false,
    },
  ])("$name: $want", ({ selector, want }) => {
    expect(meets(labels, requirementsOf(labelSelectorSchema.parse(selector)))).toBe(want);
  });

  it.for([
    { operator: "In", key: "tier", values: ["b", "a"], want: true },
    { operator: "In", key: "tier", values: ["b"], want: false },
    { operator: "In", key: "zone", values: ["a"], want: false },
    { operator: "NotIn", key: "tier", values: ["b"], want: true },
    { operator: "NotIn", key: "tier", values: ["a"], want: false },
    { operator: "NotIn", key: "zone", values: ["a"], want: true },
    { operator: "Exists", key: "canary", values: [], want: true },
    { operator: "Exists", key: "zone", values: [], want: false },
    { operator: "DoesNotExist", key: "zone", values: [], want: true },
    { operator: "DoesNotExist", key: "canary", values: [], want: false },
  ] as const)("$key $operator $values: $want", ({ want, ...requirement }) => {
    expect(meets(labels, [requirement])).toBe(want);
  });
});

describe("labelSelectorSchema", () => {
  it.for([
    { matchExpressions: [{ key: "a", operator: "In", values: [] }] },
    { matchExpressions: [{ key: "a", operator: "Exists", values: ["x"] }] },
    { matchExpressions: [{ key: "a", operator: "in", values: ["x"] }] },
    { matchExpressions: [{ key: "", operator: "Exists" }] },
    { matchLabel: {} },
  ])("refuses %j", (selector) => {
    expect(labelSelectorSchema.safeParse(selector).success).toBe(false);
  });
});

describe("parseLabelSelector", () => {
  it.for([
    { text: "app=vllm", want: [{ key: "app", operator: "In", values: ["vllm"] }] },
    { text: "app == vllm", want: [{ key: "app", operator: "In", values: ["vllm"] }] },
    { text: "a.io/b!=c", want: [{ key: "a.io/b", operator: "NotIn", values: ["c"] }] },
    { text: "app=", want: [{ key: "app", operator: "In", values: [""] }] },
    {
      text: "tier in (a, b),tier notin (c), canary ,!old",
      want: [
        { key: "tier", operator: "In", values: ["a", "b"] },
        { key: "tier", operator: "NotIn", values: ["c"] },
        { key: "canary", operator: "Exists", values: [] },
        { key: "old", operator: "DoesNotExist", values: [] },
      ],
    },
  ])("reads $text", ({ text, want }) => {
    expect(parseLabelSelector(text)).toEqual({ ok: true, requirements: want });
  });

  it.for(["", "a,,b", "=b", "a in b", "a in (b", "a b", "a=b=c", "-a"])("refuses '%s'", (text) => {
    const parsed = parseLabelSelector(text);
    expect(parsed).toMatchObject({ ok: false });
    expect(JSON.stringify(parsed)).toContain("expected key=value");
  });

  it("reads at most as many requirements as one selector may have", () => {
    const of = (count: number) => Array.from({ length: count }, (_, n) => `l${n}`).join(",");
    const { requirementsMax } = LABEL_SELECTOR_LIMITS;
    expect(parseLabelSelector(of(requirementsMax))).toMatchObject({ ok: true });
    expect(parseLabelSelector(of(requirementsMax + 1))).toMatchObject({ ok: false });
  });
});
