import { expect, it, onTestFinished, vi } from "vitest";
import {
  type HeldAnswers,
  Lesson,
  LESSON_LIMITS,
  type LessonOptions,
} from "../../../../src/agents/relay/learning/lesson.ts";

const WORDS = { low: 1, high: 2 };
const ANSWERED = { isWhole: true, completionTokens: 100 };

function begin(options: Partial<LessonOptions> = {}) {
  const outcomes: string[] = [];
  const learned: { readonly isPromptNew: boolean; readonly answer?: Uint8Array }[] = [];
  const held: HeldAnswers = { bytes: 0 };
  const body = Buffer.from("{}");
  const lesson = new Lesson({
    request: { endpoint: "e:1", path: "/v1/completions", body, root: WORDS, lastKey: WORDS },
    isPromptNew: true,
    held,
    learn: (what) => learned.push(what),
    onAnswer: (outcome) => outcomes.push(outcome),
    ...options,
  });
  return { lesson, outcomes, learned, held };
}

/** With memory of its own. */
const bytesOf = (size: number, byte = 7) => new Uint8Array(size).fill(byte);

it("gives the answer as it came, and holds nothing of it any more", () => {
  const { lesson, learned, outcomes, held } = begin();
  const shared = bytesOf(600);
  lesson.keep(shared.subarray(0, 100));
  lesson.keep(shared.subarray(100, 600));
  lesson.keep(bytesOf(50, 8));
  expect(held.bytes).toBeGreaterThanOrEqual(650);
  expect(held.bytes).toBeLessThan(650 + 3 * 1_024);
  lesson.end(ANSWERED);
  const answer = Buffer.concat([shared, bytesOf(50, 8)]);
  expect(learned).toEqual([{ isPromptNew: true, answer: new Uint8Array(answer) }]);
  expect(outcomes).toEqual([]);
  expect(held.bytes).toBe(0);
});

it.for([
  { why: "unended", end: { isWhole: false, completionTokens: 100 }, size: 600 },
  { why: "short", end: ANSWERED, size: 200 },
  { why: "short", end: { isWhole: true, completionTokens: 3 }, size: 600 },
])("learns the prompt alone where the answer is $why", ({ why, end, size }) => {
  const { lesson, learned, outcomes, held } = begin();
  lesson.keep(bytesOf(size));
  lesson.end(end);
  expect(outcomes).toEqual([why]);
  expect(learned).toEqual([{ isPromptNew: true }]);
  expect(held.bytes).toBe(0);
});

it("learns nothing of a known prompt whose answer is short", () => {
  const { lesson, learned } = begin({ isPromptNew: false });
  lesson.keep(bytesOf(20));
  lesson.end(ANSWERED);
  expect(learned).toEqual([]);
});

it("learns a prompt once, and before its answer where that takes long", () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const { lesson, learned } = begin({ waitMs: 250 });
  lesson.keep(bytesOf(600));
  vi.advanceTimersByTime(249);
  expect(learned).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(learned).toEqual([{ isPromptNew: true }]);
  lesson.end(ANSWERED);
  expect(learned.map(({ isPromptNew }) => isPromptNew)).toEqual([true, false]);
});

it("lets long prompts wait less", () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const request = { endpoint: "e:1", path: "/", root: WORDS, lastKey: WORDS };
  const long = begin({ request: { ...request, body: bytesOf(4_097) } });
  const short = begin({ request: { ...request, body: bytesOf(4_096) } });
  vi.advanceTimersByTime(300);
  expect([long.learned.length, short.learned.length]).toEqual([1, 0]);
  vi.advanceTimersByTime(2_000);
  expect(short.learned).toHaveLength(1);
});

it("keeps no large buffer for a small chunk of it", () => {
  const { lesson, learned } = begin();
  const buffer = Buffer.from(bytesOf(65_536).buffer);
  const chunk = buffer.subarray(0, 600);
  lesson.keep(chunk);
  // Whoever owns it uses it again.
  buffer.fill(9);
  lesson.end(ANSWERED);
  expect(learned[0]!.answer).toEqual(bytesOf(600));
});

it("keeps an answer up to its bound", () => {
  const { answerBytesMax } = LESSON_LIMITS;
  const { lesson, learned, outcomes, held } = begin();
  lesson.keep(bytesOf(answerBytesMax));
  expect(held.bytes).toBeGreaterThan(0);
  lesson.keep(bytesOf(1));
  expect(held.bytes).toBe(0);
  lesson.keep(bytesOf(1));
  lesson.end(ANSWERED);
  expect(outcomes).toEqual(["too-large"]);
  expect(learned).toEqual([{ isPromptNew: true }]);
  expect(held.bytes).toBe(0);
});

it("keeps answers up to their bound together", () => {
  const held: HeldAnswers = { bytes: LESSON_LIMITS.heldBytesMax - 2_000 };
  const { lesson, outcomes } = begin({ held });
  lesson.keep(bytesOf(1_000));
  lesson.keep(bytesOf(1_000));
  lesson.end(ANSWERED);
  expect(outcomes).toEqual(["full"]);
  expect(held.bytes).toBe(LESSON_LIMITS.heldBytesMax - 2_000);
});
