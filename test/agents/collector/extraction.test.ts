import { describe, expect, it } from "vitest";
import {
  createEngineExtraction,
  createExporterExtraction,
} from "../../../src/agents/collector/extraction.ts";
import {
  metricsSpecificationSchema,
  type WireEngine,
} from "../../../src/agents/protocol/metrics-specification.ts";
import { DEFAULT_SPECIFICATION } from "../../../src/scheduler/data-layer/compile.ts";
import { DCGM, ENGINE_TEXTS, VLLM, VLLM_TWO_RANKS } from "../support/engine-texts.ts";

const specification = metricsSpecificationSchema.parse(DEFAULT_SPECIFICATION);
const engineNamed = (name: string) => specification.engines.find((engine) => engine.name === name)!;
const vllm = engineNamed("vllm");
const fieldsOf = (engine: WireEngine, text: string) =>
  createEngineExtraction(engine, 0)(text).fields;

describe("an engine's text", () => {
  it.for(ENGINE_TEXTS.map((one, i) => [`${one.engine} (${i})`, one] as const))(
    "of %s is read as its names say",
    ([, { engine, text, fields }]) => {
      expect(fieldsOf(engineNamed(engine), text)).toEqual(fields);
    },
  );

  it("with two data-parallel ranks stands for both", () => {
    expect(fieldsOf(vllm, VLLM_TWO_RANKS).slice(0, 5)).toEqual([9, 4, 0.5, 16, 1_900]);
  });

  it("of a rank that is asked for by name stands for that rank", () => {
    const waiting = [{ series: "vllm:num_requests_waiting", match: { engine: "1" } }];
    expect(fieldsOf({ ...vllm, waiting }, VLLM_TWO_RANKS)[0]).toBe(9);
  });

  it("without rank labels is its first series, as in llm-d", () => {
    expect(fieldsOf({ ...vllm, rankLabels: [] }, VLLM_TWO_RANKS).slice(0, 3)).toEqual([0, 3, 0.25]);
  });

  it("holds the scalars it is asked for, in their places", () => {
    const scalars = [
      { key: 1, sources: [{ series: "absent" }, { series: "vllm:num_requests_running" }] },
      { key: 2, sources: [{ series: "absent" }] },
    ];
    const { fields } = createEngineExtraction({ ...vllm, scalars }, 3)(VLLM);
    expect(fields.slice(-3)).toEqual([undefined, 3, undefined]);
  });

  it("is read as far as it goes: what is broken leaves the rest as it is", () => {
    const broken = VLLM.replace(
      'num_requests_waiting{engine="0",model_name="llama"} 7.0',
      "num_requests_waiting{engine= oops",
    ).replace(/num_gpu_blocks="27407"/, 'num_gpu_blocks="None"');
    expect(fieldsOf(vllm, broken).slice(0, 5)).toEqual([undefined, 3, 0.25, 16, undefined]);
  });
});

describe("adapters", () => {
  const lora = (text: string) => createEngineExtraction(vllm, 0)(text).lora;

  it("are those of the series with the largest value, whatever the order", () => {
    const expected = { active: ["chat", "law"], waiting: ["sql"], max: 4 };
    expect(lora(VLLM)).toEqual(expected);
    expect(lora(VLLM.split("\n").toReversed().join("\n"))).toEqual(expected);
  });

  it("are unknown until the engine names some, and to an engine that has no such metric", () => {
    expect(lora(VLLM_TWO_RANKS)).toBeUndefined();
    expect(createEngineExtraction(engineNamed("sglang"), 0)(VLLM).lora).toBeUndefined();
  });

  it.for([
    ["names twice and blanks", `running_lora_adapters=" a ,a,,b"`, ["a", "b"], 0],
    ["a maximum that is no number", `running_lora_adapters="a",max_lora="many"`, ["a"], 0],
    ["nothing", `max_lora="8"`, [], 8],
  ] as const)("with %s are read with care", ([, labels, active, max]) => {
    expect(lora(`vllm:lora_requests_info{${labels}} 1`)).toEqual({ active, waiting: [], max });
  });
});

describe("an exporter's text", () => {
  const read = {
    key: 0,
    sources: [{ series: "DCGM_FI_DEV_GPU_UTIL" }],
    combine: "max" as const,
    scale: 0.01,
    ownLabel: "pod",
  };
  const target = specification.metrics!;
  const utilization = (names: string[], text = DCGM) =>
    createExporterExtraction({ target, reads: [read] }, names)(text).get(0);

  it("is read for the endpoint's own series, the busiest of them", () => {
    expect(utilization(["vllm-0"])).toBeCloseTo(0.8);
    expect(utilization(["vllm-1"])).toBeCloseTo(0.99);
    expect(utilization(["vllm-9"])).toBeUndefined();
  });

  it("whose scaled value is not finite says nothing", () => {
    const large = { ...read, scale: 1e10, ownLabel: null };
    const extract = createExporterExtraction({ target, reads: [large] }, []);
    expect(extract("DCGM_FI_DEV_GPU_UTIL 1e300\n").get(0)).toBeUndefined();
    expect(extract("DCGM_FI_DEV_GPU_UTIL 2\n").get(0)).toBe(2e10);
  });

  it("without names of pods is everybody's", () => {
    expect(utilization(["vllm-0"], 'DCGM_FI_DEV_GPU_UTIL{gpu="0"} 40\n')).toBeCloseTo(0.4);
  });
});
