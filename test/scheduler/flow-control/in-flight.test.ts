import { expect, it } from "vitest";
import {
  IN_FLIGHT_MAX,
  IN_FLIGHT_TTL_MS,
  InFlight,
} from "../../../src/scheduler/flow-control/in-flight.ts";
import { BandAlone, NOW_MS, queued } from "../support/flow-control.ts";

const flow = new BandAlone({}).band.flowOf("a");

it("holds what may be held, and gives up the oldest beyond", () => {
  const inFlight = new InFlight();
  const request = queued();
  for (let i = 0; i < IN_FLIGHT_MAX; i++) inFlight.add(`k${i}`, flow, request, NOW_MS);
  expect(inFlight.overdue(NOW_MS)).toBeUndefined();
  inFlight.add("more", flow, request, NOW_MS);
  expect(inFlight.overdue(NOW_MS)?.key).toBe("k0");
});

it("gives up what is never told to end", () => {
  const inFlight = new InFlight();
  inFlight.add("k", flow, queued(), NOW_MS);
  expect(inFlight.overdue(NOW_MS + IN_FLIGHT_TTL_MS - 1)).toBeUndefined();
  expect(inFlight.overdue(NOW_MS + IN_FLIGHT_TTL_MS)?.key).toBe("k");
  inFlight.end("k");
  expect(inFlight.overdue(NOW_MS + IN_FLIGHT_TTL_MS)).toBeUndefined();
});

it("asks the filter once, and lets nobody be ended without one", () => {
  const asked: number[] = [];
  const eviction = {
    filter: {
      mayEvict: ({ dispatchedAtMs }: { dispatchedAtMs: number }) => asked.push(dispatchedAtMs) > 1,
    },
    order: { endsBefore: () => false },
  };
  const inFlight = new InFlight(eviction);
  for (const key of ["a", "b"]) inFlight.add(key, flow, queued(), NOW_MS);
  expect(asked).toEqual([NOW_MS, NOW_MS]);
  expect(inFlight.victim?.key).toBe("b");
  inFlight.protect(inFlight.get("b"));
  inFlight.protect(inFlight.get("b"));
  expect(inFlight.victim).toBeUndefined();
  const without = new InFlight();
  without.add("a", flow, queued({ priority: -1 }), NOW_MS);
  expect(without.evictableCount).toBe(0);
});
