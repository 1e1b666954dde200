import { describe, expect, it } from "vitest";
import {
  MATCHED_LABELS_MAX,
  METRIC_NAME_CHARS_MAX,
  METRIC_SPEC_CHARS_MAX,
  parseMetricSpec,
} from "../../../src/scheduler/data-layer/metric-spec.ts";

const labels = (count: number) => Array.from({ length: count }, (_, i) => `l${i}=v`).join(",");

describe("parseMetricSpec", () => {
  it.for([
    ["vllm:num_requests_waiting", { series: "vllm:num_requests_waiting" }],
    [" spaced ", { series: "spaced" }],
    ["m{}", { series: "m" }],
    ["m{type=waiting}", { series: "m", match: { type: "waiting" } }],
    [`m{a="x",b='y', c = z }`, { series: "m", match: { a: "x", b: "y", c: "z" } }],
    [`m{a="x",}`, { series: "m", match: { a: "x" } }],
    [`m{a="q\\"}, b"}`, { series: "m", match: { a: 'q"}, b' } }],
    ["m".repeat(METRIC_NAME_CHARS_MAX), { series: expect.anything() }],
    [`m{a=""}`, { series: "m", match: { a: "" } }],
    [`m{${labels(MATCHED_LABELS_MAX)}}`, { series: "m", match: expect.anything() }],
  ] as const)("reads %s", ([text, source]) => {
    expect(parseMetricSpec(text)).toEqual({ ok: true, source });
  });

  it.for([
    ["", /^no metric name at character 1: expected name or name\{label=value,…\}/],
    ["{a=b}", /^no metric name/],
    ["9lives", /^no metric name/],
    ["m[5m]", /something at character 2, after the metric name/],
    ["sum(m)", /after the metric name/],
    ["m{a!=b}", /label 1 has !=: only = is allowed/],
    ['m{a=~"b.*"}', /label 1 has =~: only = is allowed/],
    ["m{a}", /no label matcher at character 3/],
    ["m{a=}", /label 1 has no value/],
    ["m{a=b", /neither , nor \} after label 1, at the end/],
    ["m{a=b}x", /something at character 7, after the labels/],
    ["m{a=b,a=c}", /label 2 is asked for twice/],
    ["m{__name__=b}", /label 1: those with __/],
    [`m{${labels(MATCHED_LABELS_MAX + 1)}}`, /over 16 labels/],
    ["m".repeat(METRIC_NAME_CHARS_MAX + 1), /a metric name over 256 characters/],
    [`m{${"l".repeat(METRIC_NAME_CHARS_MAX + 1)}=v}`, /a label name over 256 characters/],
    ["m".repeat(METRIC_SPEC_CHARS_MAX + 1), /longer than 512 characters/],
  ] as const)("refuses %s", ([text, message]) => {
    const parsed = parseMetricSpec(text);
    expect(parsed).toMatchObject({ ok: false, message: expect.stringMatching(message) });
  });
});
