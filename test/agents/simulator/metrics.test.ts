import { expect, it } from "vitest";
import { chat, startEngines } from "./harness.ts";

/** Samples of the Prometheus text format, by series. */
async function scrape(url: string): Promise<Map<string, number>> {
  const response = await fetch(`${url}/metrics`);
  expect(response.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
  const samples = new Map<string, number>();
  for (const line of (await response.text()).split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const match = /^([a-zA-Z_:][a-zA-Z0-9_:]*(?:\{(?:[a-z_]+="[^"]*",?)*\})?) (\S+)$/.exec(line);
    if (match === null) throw new Error(`not a sample: ${line}`);
    samples.set(match[1]!, Number(match[2]));
  }
  return samples;
}

const LABELS = 'model_name="tiny",engine="0"';

it("metrics carry vLLM's names and labels, and count what happened", async () => {
  const { url } = await startEngines({ model: "tiny", "block-size": 8, "time-scale": 0.01 });
  const ask = async (content: string) =>
    (await chat(url, content, { model: "tiny", max_tokens: 20 })).text();
  await ask("lorem ipsum dolor sit amet ".repeat(10));
  await ask("lorem ipsum dolor sit amet ".repeat(10));
  await ask("two words");
  const samples = await scrape(url);
  const value = (name: string) => samples.get(`vllm:${name}{${LABELS}}`);
  expect(value("num_requests_running")).toBe(0);
  expect(value("num_requests_waiting")).toBe(0);
  expect(value("kv_cache_usage_perc")).toBe(0);
  expect(value("prompt_tokens_total")).toBe(60 + 60 + 12);
  expect(value("generation_tokens_total")).toBe(20 + 20 + 2);
  expect(value("prefix_cache_queries_total")).toBe(60 + 60 + 12);
  expect(value("prefix_cache_hits_total")).toBe(56);
  expect(value("num_preemptions_total")).toBe(0);
  expect(value("time_to_first_token_seconds_count")).toBe(3);
  expect(value("inter_token_latency_seconds_count")).toBe(19 + 19 + 1);
  expect(value("e2e_request_latency_seconds_count")).toBe(3);
  expect(value("request_prompt_tokens_sum")).toBe(132);
  expect(value("request_params_max_tokens_sum")).toBe(60);
  expect(value("iteration_tokens_total_count")).toBe(20 + 20 + 2);
  const ended = (reason: string) =>
    samples.get(`vllm:request_success_total{${LABELS},finished_reason="${reason}"}`);
  expect(ended("length")).toBe(2);
  expect(ended("stop")).toBe(1);
  expect(ended("abort")).toBe(0);
  const config = [...samples].find(([series]) => series.startsWith("vllm:cache_config_info"))!;
  expect(config[0]).toMatch(/block_size="8",num_gpu_blocks="4096"/);
  expect(config[1]).toBe(1);
});

it("times are wall time: the time scale shows in them", async () => {
  const { url } = await startEngines({ model: "tiny", "prefill-overhead": 1_000 });
  await (await chat(url, "x", { model: "tiny" })).text();
  const sum = (await scrape(url)).get(`vllm:time_to_first_token_seconds_sum{${LABELS}}`)!;
  // 1,001 ms of virtual time at a scale of 0.05.
  expect(sum).toBeCloseTo(0.05, 2);
});

it("says when the engine came up, each engine for itself", async () => {
  const beforeS = Date.now() / 1_000;
  const { url } = await startEngines({ model: "tiny" });
  const startedS = (await scrape(url)).get("process_start_time_seconds")!;
  expect(startedS).toBeGreaterThanOrEqual(beforeS);
  expect(startedS).toBeLessThanOrEqual(Date.now() / 1_000);
  expect((await scrape(url)).get("process_start_time_seconds")).toBe(startedS);
  const later = await startEngines({ model: "tiny" });
  expect((await scrape(later.url)).get("process_start_time_seconds")).toBeGreaterThan(startedS);
});
