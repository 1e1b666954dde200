import { expect, it } from "vitest";
import { deadlineOf } from "../../../src/scheduler/flow-control/deadlines.ts";
import { NOW_MS } from "../support/flow-control.ts";

const TTLS = { withEndpointsMs: 1_000, withoutEndpointsMs: 5_000 };
const NEVER = { withEndpointsMs: Infinity, withoutEndpointsMs: Infinity };

it.for([
  { name: "the pool's patience", hasEndpoints: true, wantMs: 1_000 },
  { name: "that of a pool without endpoints", hasEndpoints: false, wantMs: 5_000 },
  { name: "anew when the pool has changed", hasEndpoints: true, changedMs: 3_000, wantMs: 4_000 },
  { name: "never more than both", hasEndpoints: false, changedMs: 4_000, wantMs: 6_000 },
  { name: "the client's, if that is shorter", hasEndpoints: false, ttlMs: 700, wantMs: 700 },
  { name: "not the client's, if that is longer", hasEndpoints: true, ttlMs: 7_000, wantMs: 1_000 },
  { name: "for ever without limits", hasEndpoints: true, ttls: NEVER, wantMs: Infinity },
  { name: "the client's alone", hasEndpoints: true, ttls: NEVER, ttlMs: 50, wantMs: 50 },
])("is $name", ({ hasEndpoints, changedMs = -Infinity, ttlMs, ttls = TTLS, wantMs }) => {
  const request = ttlMs === undefined ? {} : { ttlMs };
  const regime = { hasEndpoints, changedAtMs: NOW_MS + changedMs };
  expect(deadlineOf(request, NOW_MS, ttls, regime)).toBe(NOW_MS + wantMs);
});
