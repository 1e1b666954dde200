import { describe, expect, it } from "vitest";
import {
  compileMetricsSpecification,
  type DataSource,
  DEFAULT_SPECIFICATION,
  DEFAULT_TARGET,
  type Extractor,
} from "../../../src/scheduler/data-layer/compile.ts";
import { BUILT_IN_ENGINES } from "../../../src/scheduler/data-layer/engines.ts";
import { SPECIFICATION_LIMITS } from "../../../src/scheduler/data-layer/specification.ts";
import { SCALARS_MAX } from "../../../src/scheduler/model/scalars.ts";

const metrics: DataSource = { payload: "prometheus", target: DEFAULT_TARGET };
const reader = (contribute: Extractor["contribute"]): Extractor => ({
  reads: "prometheus",
  contribute,
});
const compile = (source: DataSource, ...extractors: Extractor[]) =>
  compileMetricsSpecification([
    { name: "s", source, extractors: extractors.map((extractor) => ({ name: "x", extractor })) },
  ]);

describe("a compiled specification", () => {
  it("of nothing reads nothing", () => {
    const { specification, problems } = compileMetricsSpecification([]);
    expect(specification).toMatchObject({ v: 1, metrics: null, exporters: [], models: null });
    expect(problems).toEqual([]);
  });

  it("gives an attribute key one place, whoever writes it", () => {
    const places: (number | undefined)[] = [];
    const { specification } = compile(
      metrics,
      reader((builder) => places.push(builder.scalar("a"), builder.scalar("b"))),
      reader((builder) => places.push(builder.scalar("b"), builder.scalar("c"))),
    );
    expect(places).toEqual([0, 1, 1, 2]);
    expect(specification.scalars).toEqual(["a", "b", "c"]);
  });

  it("refuses one attribute too many, and says so", () => {
    expect(SPECIFICATION_LIMITS.scalarsMax).toBe(SCALARS_MAX);
    const { specification, problems } = compile(
      metrics,
      reader((builder) => {
        for (let i = 0; i <= SCALARS_MAX; i++) builder.scalar(`k${i}`);
      }),
    );
    expect(specification.scalars).toHaveLength(SCALARS_MAX);
    expect(problems).toEqual([
      `k${SCALARS_MAX}: a pool has at most ${SCALARS_MAX} attributes of this kind`,
    ]);
  });

  it("says when an extractor is bound to a source it cannot read", () => {
    const { problems } = compile(
      { payload: "models", target: DEFAULT_TARGET },
      reader(() => undefined),
    );
    expect(problems).toEqual(["x reads prometheus, and s delivers models"]);
  });

  it("says when two extractors read the engines, or there are too many sources or names", () => {
    const engines = (count: number, chars = 1) => ({
      engineLabels: [],
      defaultEngine: "e",
      engines: Array.from({ length: count }, () => ({
        ...BUILT_IN_ENGINES[4]!,
        name: "e".repeat(chars),
      })),
    });
    const { enginesMax, exportersMax, charsMax } = SPECIFICATION_LIMITS;
    const read = (count: number, chars?: number) =>
      reader((builder, source) => builder.engines(source.target!, engines(count, chars)));
    expect(compile(metrics, read(enginesMax)).problems).toEqual([]);
    expect(compile(metrics, read(enginesMax + 1)).problems).toEqual([`over ${enginesMax} engines`]);
    expect(compile(metrics, read(1), read(1)).problems).toHaveLength(1);
    expect(compile(metrics, read(1, charsMax)).problems).toHaveLength(1);
    const exporters = reader((builder, source) => {
      for (let i = 0; i <= exportersMax; i++) builder.exporter(source.target!, []);
    });
    const compiled = compile(metrics, exporters);
    expect(compiled.specification.exporters).toHaveLength(exportersMax);
    expect(compiled.problems).toHaveLength(1);
  });
});

describe("the default specification", () => {
  it("reads llm-d's five engines, by their names", () => {
    expect(DEFAULT_SPECIFICATION.engines.map(({ name }) => name)).toEqual([
      "vllm",
      "sglang",
      "trtllm-serve",
      "triton-tensorrt-llm",
      "triton",
    ]);
    const waiting = DEFAULT_SPECIFICATION.engines.map((engine) => engine.waiting[0]!.series);
    expect(waiting).toEqual([
      "vllm:num_requests_waiting",
      "sglang:num_queue_reqs",
      "trtllm_num_requests_waiting",
      "nv_trt_llm_request_metrics",
      "nv_inference_pending_request_count",
    ]);
  });
});
