import { describe, expect, it } from "vitest";
import {
  effectiveScheduler,
  type SchedulerDocument,
  schedulerDocumentSchema,
  schedulingIssues,
  schedulingNotes,
  withReadableScheduling,
} from "../../src/config/scheduling.ts";
import { schedulerConfigSchema } from "../../src/scheduler/config/schema.ts";

const ALPHA: SchedulerDocument = { plugins: [{ type: "session-affinity-scorer" }] };

describe("a pool's scheduling", () => {
  it.for([undefined, null, {}])("is our default where it is %j", (scheduler) => {
    const document = schedulerDocumentSchema.parse(scheduler);
    expect(document).toEqual({});
    expect(schedulingIssues({ scheduler })).toEqual([]);
    expect(effectiveScheduler(document)).toEqual(schedulerConfigSchema.parse({}));
  });

  it("stays as it was written", () => {
    const document = { plugins: [{ type: "queue-scorer" }], kind: "EndpointPickerConfig" };
    expect(schedulerDocumentSchema.parse(document)).toBe(document);
  });

  it("is completed once", () => {
    const document: SchedulerDocument = { plugins: [{ type: "queue-scorer" }] };
    expect(effectiveScheduler(document)).toBe(effectiveScheduler(document));
    expect(effectiveScheduler({})).toBe(effectiveScheduler({}));
  });

  it.for([[], "x", 5, { plugins: 1 }])("is refused as %j", (scheduler) => {
    expect(schedulingIssues({ scheduler })).not.toEqual([]);
  });

  it("uses alpha plugins only where the pool says so, in so many words", () => {
    expect(schedulingIssues({ scheduler: ALPHA })).toHaveLength(1);
    expect(schedulingIssues({ scheduler: ALPHA, allowExperimentalPlugins: "yes" })).toHaveLength(1);
    expect(schedulingIssues({ scheduler: ALPHA, allowExperimentalPlugins: true })).toEqual([]);
    expect(effectiveScheduler(ALPHA).plugins[0]).toMatchObject({ type: "session-affinity-scorer" });
  });

  it("that an earlier release stored gives way to the default where it cannot be read", () => {
    const former = { schedulingProfiles: [{ scorers: [] }] };
    const readable = { plugins: [{ type: "queue-scorer" }] };
    const pool = { name: "eu-1", scheduler: former, shadow: former };
    expect(withReadableScheduling(pool)).toEqual({ name: "eu-1", scheduler: {} });
    const half = { ...pool, scheduler: readable };
    expect(withReadableScheduling(half)).toEqual({ name: "eu-1", scheduler: readable });
    const whole = { ...half, shadow: readable };
    expect(withReadableScheduling(whole)).toBe(whole);
    const open = { name: "eu-1", scheduler: {} };
    expect(withReadableScheduling(open)).toBe(open);
    const shadowed = { ...pool, shadow: readable };
    expect(withReadableScheduling(shadowed)).toEqual({ ...shadowed, scheduler: {} });
  });

  it("has notes of its own", () => {
    const scheduler = { apiVersion: "inference.networking.x-k8s.io/v1alpha1", plugins: [] };
    expect(schedulingNotes({ scheduler })).toMatchObject([{ path: ["apiVersion"] }]);
  });
});
