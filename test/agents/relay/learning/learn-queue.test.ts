import { afterEach, beforeEach, expect, it, vi } from "vitest";
import {
  PROMPTS_PER_ENGINE_MAX,
  PROMPTS_PER_RENDERER_MAX,
} from "../../../../src/agents/relay/learning/engine-asker.ts";
import type { LearnJob } from "../../../../src/agents/relay/learning/thread-messages.ts";
import { LearnQueue } from "../../../../src/agents/relay/learning/learn-queue.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const ZERO = { low: 0, high: 0 };
const job = (endpoint: string, path: string): LearnJob => ({
  endpoint,
  path,
  body: new Uint8Array(),
  root: ZERO,
  lastKey: ZERO,
  isPromptNew: true,
});

function start(promptsPerSecondMax: number, renderOrigin?: string) {
  const begun: string[] = [];
  const ends = new Map<string, () => void>();
  const queue = new LearnQueue({
    promptsPerSecondMax,
    renderOrigin,
    clock: () => Date.now(),
    learn({ path }) {
      begun.push(path);
      return new Promise((resolve) => ends.set(path, resolve));
    },
  });
  const end = async (path: string) => {
    ends.get(path)!();
    await vi.advanceTimersByTimeAsync(0);
  };
  return { queue, begun, end };
}

it("learns a few prompts at a time of an engine, and lets others pass", async () => {
  const { queue, begun, end } = start(1_000_000);
  const paths = Array.from({ length: PROMPTS_PER_ENGINE_MAX + 2 }, (_, i) => `a${i}`);
  for (const path of paths) queue.add(job("a", path));
  queue.add(job("b", "b0"));
  await vi.advanceTimersByTimeAsync(10);
  expect(begun).toEqual([...paths.slice(0, PROMPTS_PER_ENGINE_MAX), "b0"]);
  await end("a1");
  await vi.advanceTimersByTimeAsync(10);
  expect(begun.at(-1)).toBe(paths.at(-2));
  expect(begun).not.toContain(paths.at(-1));
});

it("learns no more at a time of all engines than one renderer is asked", async () => {
  const { queue, begun, end } = start(1_000_000, "renderer");
  for (let i = 0; i <= PROMPTS_PER_ENGINE_MAX; i++) queue.add(job("a", `a${i}`));
  for (let i = 0; i < PROMPTS_PER_RENDERER_MAX; i++) queue.add(job(`b${i}`, `b${i}`));
  await vi.advanceTimersByTimeAsync(100);
  expect(begun).toHaveLength(PROMPTS_PER_RENDERER_MAX);
  expect(begun).not.toContain(`a${PROMPTS_PER_ENGINE_MAX}`);
  await end("b0");
  await vi.advanceTimersByTimeAsync(100);
  expect(begun).toHaveLength(PROMPTS_PER_RENDERER_MAX + 1);
  // What waits for an engine, and what waits for the renderer.
  expect(queue.take("a").map(({ path }) => path)).toEqual([`a${PROMPTS_PER_ENGINE_MAX}`]);
  expect(queue.take("renderer")).toHaveLength(PROMPTS_PER_ENGINE_MAX - 1);
});

it("begins no more than the rate allows, also after a pause", async () => {
  const { queue, begun } = start(10);
  await vi.advanceTimersByTimeAsync(1_000);
  for (const name of ["a", "b", "c", "d"]) queue.add(job(name, name));
  expect(begun).toEqual(["a"]);
  await vi.advanceTimersByTimeAsync(99);
  expect(begun).toEqual(["a"]);
  await vi.advanceTimersByTimeAsync(1);
  expect(begun).toEqual(["a", "b"]);
  await vi.advanceTimersByTimeAsync(200);
  expect(begun).toEqual(["a", "b", "c", "d"]);
});

it("begins nothing when it is closed", async () => {
  const { queue, begun } = start(10);
  queue.add(job("a", "a"));
  queue.add(job("b", "b"));
  queue.close();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(begun).toEqual(["a"]);
});
