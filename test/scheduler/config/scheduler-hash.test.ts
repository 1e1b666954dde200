import { expect, it } from "vitest";
import { effectiveScheduler, type SchedulerDocument } from "../../../src/config/scheduling.ts";
import { schedulerHash } from "../../../src/scheduler/config/scheduler-hash.ts";
import { readConfig } from "../../../src/durable/built-config.ts";

const hashOf = (document: SchedulerDocument) => schedulerHash(effectiveScheduler(document));
const OTHER: SchedulerDocument = { plugins: [{ type: "queue-scorer" }] };

it("is the same for the same, whoever reads it", () => {
  for (const document of [{}, OTHER]) {
    const scheduler = effectiveScheduler(document);
    // As a pool's object has it from the directory.
    const told = JSON.parse(JSON.stringify({ name: "p", scrapeIntervalMs: 200, scheduler }));
    expect(schedulerHash(readConfig(told).scheduler)).toBe(hashOf({ ...document }));
  }
  expect(hashOf({})).toMatch(/^[0-9a-f]{16}$/);
});

it("is another one for another", () => {
  expect(hashOf(OTHER)).not.toBe(hashOf({}));
});
