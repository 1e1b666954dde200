import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  LINE_LABELS_MAX,
  RANKS_MAX,
  scanLatestLabels,
  scanPrometheus,
  type SeriesQuery,
} from "../../src/telemetry/prometheus-scanner.ts";

/** vLLM 0.11, shortened. */
const VLLM = `# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="meta-llama/Llama-3.1-8B"} 3.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 99.0
vllm:num_requests_waiting{engine="0",model_name="meta-llama/Llama-3.1-8B"} 7.0
vllm:kv_cache_usage_perc{engine="0",model_name="meta-llama/Llama-3.1-8B"} 0.25
vllm:cache_config_info{block_size="16",cache_dtype="auto",num_gpu_blocks="27407"} 1.0
vllm:e2e_request_latency_seconds_bucket{le="+Inf"} 5.0
`;

const one = (text: string, query: SeriesQuery) => scanPrometheus(text, [query])[0];

describe("scanPrometheus", () => {
  it("reads what is asked for from an engine's text", () => {
    const queries: SeriesQuery[] = [
      { series: "vllm:num_requests_waiting" },
      { series: "vllm:num_requests_running", match: { engine: "0" } },
      { series: "vllm:kv_cache_usage_perc" },
      { series: "vllm:cache_config_info", valueLabel: "block_size" },
      { series: "vllm:cache_config_info", valueLabel: "num_gpu_blocks" },
      { series: "vllm:cache_config_info" },
      { series: "vllm:gpu_cache_usage_perc" },
    ];
    expect(scanPrometheus(VLLM, queries)).toEqual([7, 3, 0.25, 16, 27407, 1, undefined]);
  });

  it.for([
    { name: "a longer name", text: "m_by_reason 1", value: undefined },
    { name: "a longer name that ends in a number", text: "m1 5", value: undefined },
    { name: "a name in the middle of a line", text: "x m 1", value: undefined },
    { name: "a name in a comment", text: "# m 1\n# TYPE m gauge", value: undefined },
    { name: "a bare sample in the first line", text: "m 5", value: 5 },
    { name: "a sample in a last line without its end", text: "x 1\nm 5", value: 5 },
    { name: "carriage returns", text: "x 1\r\nm 5\r\n", value: 5 },
    { name: "tabs and empty braces", text: "m{}\t5\t1700000000000", value: 5 },
    { name: "space inside braces", text: 'm{ a = "x" , b="y" , } 5', value: 5 },
    { name: "NaN", text: "m NaN", value: undefined },
    { name: "infinity", text: "m +Inf\nm -Inf", value: undefined },
    { name: "an exponent", text: "m 1.5e-3", value: 0.0015 },
    { name: "a hexadecimal number", text: "m 0x10", value: undefined },
    { name: "a number too long to be one", text: `m ${"1".repeat(65)}`, value: undefined },
    { name: "the longest number", text: `m 7.${"0".repeat(62)}`, value: 7 },
    { name: "a million digits that are none", text: `m ${"1".repeat(1e6)}x`, value: undefined },
    { name: "a point without digits behind it", text: "m 5.", value: 5 },
    { name: "a point without digits before it", text: "m .5", value: 0.5 },
    { name: "a point alone", text: "m .", value: undefined },
    { name: "no value", text: "m{}\nm", value: undefined },
    { name: "an unclosed label", text: 'm{a="x} 5', value: undefined },
    { name: "an unclosed brace", text: 'm{a="x" 5', value: undefined },
    { name: "an OpenMetrics exemplar", text: 'm{le="1"} 5 # {id="7"} 0.5', value: 5 },
    { name: "the first of two series", text: 'm{a="1"} 5\nm{a="2"} 6', value: 5 },
    { name: "the newest of two series", text: 'm{a="1"} 5 10\nm{a="2"} 6 20\nm 7', value: 6 },
    { name: "the first of equally old series", text: "m 5 10\nm 6 10", value: 5 },
    { name: "a good series after a dropped one", text: "m NaN 99\nm 6 1", value: 6 },
    { name: "nothing in an empty text", text: "", value: undefined },
  ])("handles $name", ({ text, value }) => {
    expect(one(text, { series: "m" })).toBe(value);
  });

  it("matches labels exactly, whatever else there is", () => {
    const text = 'm{tp_rank="1",x="a"} 1\nm{tp_rank="0",x="b"} 2\n';
    expect(one(text, { series: "m", match: { tp_rank: "0" } })).toBe(2);
    expect(one(text, { series: "m", match: { tp_rank: "0", x: "a" } })).toBeUndefined();
    expect(one(text, { series: "m", match: { absent: "" } })).toBeUndefined();
  });

  it.for([
    { name: "sums ranks", combine: "sum", value: 7 },
    { name: "averages ranks", combine: "mean", value: 3.5 },
    { name: "takes the largest", combine: "max", value: 9 },
    { name: "takes the first", combine: "first", value: 9 },
  ] as const)("$name, the newest series of each", ({ combine, value }) => {
    const text = 'm{rank="0",x="a"} 9 1\nm{rank="0",x="b"} 5 2\nm{rank="1"} 2\n';
    const newest = combine === "first" ? 5 : value;
    expect(one(text, { series: "m", combine, rankLabels: ["rank"] })).toBe(newest);
  });

  it("takes a series without a rank for the whole only where no other is", () => {
    const query = { series: "m", combine: "sum", rankLabels: ["dp", "pp"] } as const;
    expect(one('m 9\nm{dp="0"} 1\nm{dp="1"} 2\nm{pp="0"} 4\n', query)).toBe(7);
    expect(one('m{x="1"} 9\nm{x="2"} 1\n', query)).toBe(9);
  });

  it("counts as many ranks as a process may have", () => {
    const text = Array.from({ length: RANKS_MAX + 1 }, (_, i) => `m{rank="${i}"} 1`).join("\n");
    expect(one(text, { series: "m", combine: "sum", rankLabels: ["rank"] })).toBe(RANKS_MAX);
  });

  it.for(["sum", "mean"] as const)("gives no %s of ranks that is not finite", (combine) => {
    const text = 'm{rank="0"} 1e308\nm{rank="1"} 1e308\n';
    expect(one(text, { series: "m", combine, rankLabels: ["rank"] })).toBeUndefined();
  });

  it("reads gauges, counters and what has no type, but no summary or histogram", () => {
    const typed = (type: string, series = "m") =>
      `# TYPE x gauge\nx 1\n# TYPE ${series} ${type}\nm 5\n`;
    const read = (text: string) => one(text, { series: "m" });
    expect(["gauge", "counter", "untyped"].map((type) => read(typed(type)))).toEqual([5, 5, 5]);
    expect(["summary", "histogram"].map((type) => read(typed(type)))).toEqual([
      undefined,
      undefined,
    ]);
    expect(read(typed("summary", "other"))).toBe(5);
  });

  it("counts another's series only where they name it", () => {
    const text = 'm{pod="a"} 1\nm{pod="b"} 3\nm 2\n';
    const own = (values: string[]) => ({
      series: "m",
      combine: "max" as const,
      own: { label: "pod", values },
    });
    expect(one(text, own(["a"]))).toBe(2);
    expect(one(text, own(["b"]))).toBe(3);
  });

  it("finds the labels of the largest value", () => {
    const text = 'm{a="old"} 1\nm{a="new"} 3\nm{a="same"} 3\nm{a="broken"} NaN\n';
    expect(scanLatestLabels(text, { series: "m" })?.get("a")).toBe("new");
    expect(scanLatestLabels(text, { series: "m", match: { a: "old" } })?.get("a")).toBe("old");
    expect(scanLatestLabels(text, { series: "absent" })).toBeUndefined();
  });

  it("unescapes label values and is not misled by what they hold", () => {
    const text = String.raw`m{a="q\" } 9 \\",b="l\nm 7"} 5`;
    expect(one(text, { series: "m", match: { a: 'q" } 9 \\', b: "l\nm 7" } })).toBe(5);
  });

  it("drops an info label that is not a number", () => {
    const query = { series: "m", valueLabel: "n" };
    expect(one('m{n="None"} 1', query)).toBeUndefined();
    expect(one('m{n=""} 1', query)).toBeUndefined();
    expect(one("m 1", query)).toBeUndefined();
    expect(one('m{n="12"} NaN', query)).toBeUndefined();
  });

  it("passes over a line with more labels than any engine writes", () => {
    const line = (count: number) =>
      `m{${Array.from({ length: count }, (_, i) => `l${i}="x"`).join(",")}} 5`;
    expect(one(line(LINE_LABELS_MAX), { series: "m" })).toBe(5);
    expect(one(line(LINE_LABELS_MAX + 1), { series: "m" })).toBeUndefined();
  });

  it("agrees with a parser that reads everything", () => {
    const names = fc.constantFrom("m", "m_total", "vllm:m", "mm");
    const labelValue = fc.string({
      unit: fc.constantFrom(...Array.from('ab0 \\"\n{}=,#')),
      maxLength: 6,
    });
    const series = fc.record({
      name: names,
      labels: fc.dictionary(fc.constantFrom("a", "b", "c"), labelValue, { noNullPrototype: true }),
      value: fc.oneof(fc.integer(), fc.constantFrom("NaN", "+Inf", "1e3", "-0.5", "oops")),
      timestamp: fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined }),
    });
    const query = fc.record({
      series: names,
      match: fc.option(
        fc.dictionary(fc.constantFrom("a", "b"), labelValue, { maxKeys: 1, noNullPrototype: true }),
        { nil: undefined },
      ),
      valueLabel: fc.option(fc.constantFrom("a", "c"), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(series), fc.array(query), (lines, queries) => {
        const text = lines.map(render).join("\n");
        expect(scanPrometheus(text, queries)).toEqual(queries.map((q) => naive(text, q)));
      }),
      { numRuns: 2_000 },
    );
  });
});

function render(series: {
  name: string;
  labels: Record<string, string>;
  value: number | string;
  timestamp: number | undefined;
}): string {
  const labels = Object.entries(series.labels).map(([name, value]) => {
    const escaped = value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
    return `${name}="${escaped}"`;
  });
  const braces = labels.length === 0 ? "" : `{${labels.join(",")}}`;
  return `${series.name}${braces} ${series.value}${series.timestamp === undefined ? "" : ` ${series.timestamp}`}`;
}

/** Every line by one regular expression, every label into an object, then a search. */
function naive(text: string, query: SeriesQuery): number | undefined {
  let best: { value: number; timestamp: number } | undefined;
  for (const line of text.split("\n")) {
    const parts = /^([a-z:_]+)(?:\{((?:[a-z]+="(?:\\.|[^"\\])*",?)*)\})? (\S+)(?: (\d+))?$/.exec(
      line,
    );
    if (parts === null || parts[1] !== query.series) continue;
    const labels: Record<string, string> = {};
    for (const [, name, raw] of (parts[2] ?? "").matchAll(/([a-z]+)="((?:\\.|[^"\\])*)"/g)) {
      labels[name!] = raw!.replace(/\\(.)/g, (_, c: string) => (c === "n" ? "\n" : c));
    }
    const isMatch = Object.entries(query.match ?? {}).every(
      ([name, value]) => labels[name] === value,
    );
    const sample = Number(parts[3]);
    const picked = query.valueLabel === undefined ? sample : decimal(labels[query.valueLabel]);
    const timestamp = Number(parts[4] ?? 0);
    if (!isMatch || !Number.isFinite(sample) || !Number.isFinite(picked)) continue;
    if (best === undefined || timestamp > best.timestamp) best = { value: picked, timestamp };
  }
  return best?.value;
}

function decimal(text: string | undefined): number {
  return text !== undefined && /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
}
