import { expect, it } from "vitest";
import { keyHex } from "../../../../src/agents/protocol/content-header.ts";
import { WaitingJobs } from "../../../../src/agents/relay/learning/waiting-jobs.ts";

const KEY = { low: 1, high: 2 };
const OTHER = { low: 3, high: 4 };

function start() {
  const jobs = new WaitingJobs({ waitingMax: 16, waitingBytesMax: 1_000 });
  /** As many as find room. */
  const fill = (endpoint: string, bytes = 1, share = 1): number => {
    let count = 0;
    for (; jobs.hasRoom(endpoint, bytes, share); count++)
      jobs.add({ endpoint, lastKey: KEY }, bytes);
    return count;
  };
  return { jobs, fill };
}

it("gives each engine as much as it leaves free", () => {
  const { jobs, fill } = start();
  expect(["a", "b", "c", "a"].map((endpoint) => fill(endpoint))).toEqual([8, 4, 2, 0]);
  expect(jobs.count).toBe(14);
});

it("gives of bytes as much", () => {
  const { fill } = start();
  expect(fill("a", 100)).toBe(5);
  expect(fill("b", 100)).toBe(3);
});

it("keeps to a share", () => {
  const { fill } = start();
  expect(fill("a", 1, 0.5)).toBe(4);
  expect(fill("a")).toBe(4);
});

it("has room again for what is done", () => {
  const { jobs, fill } = start();
  fill("a");
  jobs.done("a", keyHex(KEY), 1);
  expect(fill("a")).toBe(1);
});

it("knows the prompts that are with the thread, each until its last job is done", () => {
  const { jobs } = start();
  jobs.add({ endpoint: "a", lastKey: KEY }, 1);
  jobs.add({ endpoint: "b", lastKey: KEY }, 1);
  jobs.add({ endpoint: "b", lastKey: OTHER }, 1);
  jobs.done("a", keyHex(KEY), 1);
  expect([...jobs.keys]).toEqual([keyHex(KEY), keyHex(OTHER)]);
  jobs.done("b", keyHex(KEY), 1);
  expect([...jobs.keys]).toEqual([keyHex(OTHER)]);
  jobs.clear();
  expect([...jobs.keys]).toEqual([]);
  expect(jobs.count).toBe(0);
});
