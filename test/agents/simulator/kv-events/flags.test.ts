import { describe, expect, it } from "vitest";
import { KV_EVENT_FLAGS } from "../../../../src/agents/simulator/kv-events/flags.ts";
import { startEngines } from "../harness.ts";

const config = KV_EVENT_FLAGS["kv-events-config"];

describe("--kv-events-config", () => {
  it("has vLLM's defaults, but is on when it is given", () => {
    expect(config.parse("{}")).toEqual({
      ok: true,
      value: {
        enable_kv_cache_events: true,
        publisher: "zmq",
        endpoint: "tcp://*:5557",
        replay_endpoint: null,
        buffer_steps: 10_000,
        hwm: 100_000,
        max_queue_size: 100_000,
        topic: "kv@$(POD_IP):$(POD_PORT)@$(MODEL)",
      },
    });
    expect(config.fallback).toBeNull();
  });

  it("publishes nothing when it says so", async () => {
    const parsed = config.parse('{"enable_kv_cache_events": false}');
    if (!parsed.ok) throw new Error(parsed.expected);
    const { kvEvents } = await startEngines({ "kv-events-config": parsed.value });
    expect(kvEvents).toEqual([]);
  });

  it.for([
    ["no", /JSON, e\.g\./],
    ['{"endpoint": "5557"}', /an address of ZeroMQ.*endpoint/],
    ['{"buffer_steps": 0}', /buffer_steps/],
    ['{"buffersteps": 1}', /buffersteps/],
    ['{"publisher": "null"}', /publisher/],
  ] as const)("refuses %s", ([text, expected]) => {
    expect(config.parse(text)).toEqual({
      ok: false,
      expected: expect.stringMatching(expected) as string,
    });
  });
});

describe("--lora-modules", () => {
  const loras = KV_EVENT_FLAGS["lora-modules"];

  it("takes as many names as there may be, each once", () => {
    const names = Array.from({ length: 64 }, (_, i) => `a${i}`);
    expect(loras.parse(names.join(","))).toEqual({ ok: true, value: names });
    for (const text of [[...names, "b"].join(","), "a,a", "a,,b"]) {
      expect(loras.parse(text).ok).toBe(false);
    }
  });

  it("are served beside the model, whose name none may have", async () => {
    const { url } = await startEngines({ "lora-modules": ["a"], "served-model-name": "m" });
    const models = (await (await fetch(`${url}/v1/models`)).json()) as {
      data: { id: string; parent: string | null }[];
    };
    expect(models.data.map(({ id, parent }) => [id, parent])).toEqual([
      ["m", null],
      ["a", "m"],
    ]);
    await expect(startEngines({ "lora-modules": ["m"], "served-model-name": "m" })).rejects.toThrow(
      "--lora-modules names the model m itself.",
    );
  });
});
