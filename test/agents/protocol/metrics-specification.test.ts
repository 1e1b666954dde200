import { describe, expect, it } from "vitest";
import { PROTOCOL_LIMITS } from "../../../src/agents/protocol/limits.ts";
import { fromObjectSchema, modelsSchema } from "../../../src/agents/protocol/messages.ts";
import {
  engineOf,
  metricsSpecificationSchema,
  ROW_FIELDS,
} from "../../../src/agents/protocol/metrics-specification.ts";
import { DEFAULT_SPECIFICATION } from "../../../src/scheduler/data-layer/compile.ts";
import { SPECIFICATION_LIMITS } from "../../../src/scheduler/data-layer/specification.ts";

const configure = (specification: unknown) =>
  fromObjectSchema.parse({ t: "configure", scrapeIntervalMs: 200, metrics: [], specification });
const many = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);

describe("a specification on the wire", () => {
  it("is the scheduler's, unchanged", () => {
    expect(metricsSpecificationSchema.parse(DEFAULT_SPECIFICATION)).toEqual(DEFAULT_SPECIFICATION);
    expect(configure(DEFAULT_SPECIFICATION)).toMatchObject({
      specification: DEFAULT_SPECIFICATION,
    });
  });

  it("has the bounds that the scheduler compiles to", () => {
    const { enginesMax, metricSourcesMax, rankLabelsMax, scalarsMax, exportersMax } =
      PROTOCOL_LIMITS;
    const { pathCharsMax, labelCharsMax, controlBytesMax } = PROTOCOL_LIMITS;
    expect(SPECIFICATION_LIMITS).toMatchObject({
      enginesMax,
      sourcesMax: metricSourcesMax,
      rankLabelsMax,
      scalarsMax,
      exportersMax,
      pathCharsMax,
      nameCharsMax: labelCharsMax,
    });
    expect(2 * SPECIFICATION_LIMITS.charsMax).toBeLessThanOrEqual(controlBytesMax);
    expect(ROW_FIELDS.length + scalarsMax).toBeLessThanOrEqual(PROTOCOL_LIMITS.metricFieldsMax);
  });

  it.for([
    ["of a later format", { v: 2 }],
    ["with too many engines", { engines: many(17, DEFAULT_SPECIFICATION.engines[0]) }],
    ["with too many scalars", { scalars: many(9, "k") }],
    ["with a port that is none", { metrics: { ...DEFAULT_SPECIFICATION.metrics, port: 70_000 } }],
    [
      "with an interval that is too short",
      { models: { ...DEFAULT_SPECIFICATION.metrics, intervalMs: 1 } },
    ],
  ] as const)("%s is not read, and the plain fields count", ([, part]) => {
    const message = configure({ ...DEFAULT_SPECIFICATION, ...part });
    expect(message).toMatchObject({ t: "configure", metrics: [] });
    expect(message).not.toMatchObject({ specification: expect.anything() });
  });

  it("may say more than this release knows", () => {
    const more = { ...DEFAULT_SPECIFICATION, somethingNew: 1 };
    expect(configure(more)).toMatchObject({ specification: DEFAULT_SPECIFICATION });
  });
});

describe("MODELS", () => {
  const { modelNamesMax, modelsPerEndpointMax } = PROTOCOL_LIMITS;
  const payload = (names: number, models: number[]) => ({
    names: many(names, "n"),
    endpoints: [{ endpoint: 0, models }],
  });
  const isAccepted = (value: unknown) => modelsSchema.safeParse(value).success;

  it("take what they have room for, and no more", () => {
    expect(isAccepted(payload(modelNamesMax, many(modelsPerEndpointMax, modelNamesMax - 1)))).toBe(
      true,
    );
    expect(isAccepted(payload(modelNamesMax + 1, []))).toBe(false);
    expect(isAccepted(payload(1, many(modelsPerEndpointMax + 1, 0)))).toBe(false);
  });

  it("name nothing that is not said", () => {
    expect(isAccepted(payload(2, [0, 1]))).toBe(true);
    expect(isAccepted(payload(2, [2]))).toBe(false);
    const lora = { active: [0], waiting: [1], max: 4 };
    expect(isAccepted({ names: ["a"], endpoints: [{ endpoint: 0, lora }] })).toBe(false);
    expect(isAccepted({ names: ["a", "b"], endpoints: [{ endpoint: 0, lora }] })).toBe(true);
  });
});

describe("the engine of an endpoint", () => {
  const nameOf = (labels: Record<string, string>) => engineOf(DEFAULT_SPECIFICATION, labels)?.name;

  it("is what its label says, the newer label before the older", () => {
    const older = "inference.networking.k8s.io/engine-type";
    expect(nameOf({ "llm-d.ai/engine-type": "sglang", [older]: "triton" })).toBe("sglang");
    expect(nameOf({ [older]: "triton" })).toBe("triton");
    expect(nameOf({ "llm-d.ai/engine-type": "", [older]: "triton" })).toBe("triton");
  });

  it("is the default without a label, or with one that nobody knows", () => {
    expect(nameOf({})).toBe("vllm");
    expect(nameOf({ "llm-d.ai/engine-type": "llama.cpp" })).toBe("vllm");
    expect(engineOf({ ...DEFAULT_SPECIFICATION, defaultEngine: "x" }, {})).toBeUndefined();
  });
});
