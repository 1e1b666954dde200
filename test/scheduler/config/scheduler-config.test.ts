// What is accepted comes to a configuration that says everything, and is accepted as well: the object
// of a pool reads what the directory wrote.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { loadSchedulerConfig } from "../../../src/scheduler/config/load.ts";

const OPTIONS = { allowExperimentalPlugins: true };

const digits = fc.oneof(
  fc.nat(99_999).map(String),
  fc.bigInt(0n, 10n ** 24n).map(String),
  fc.tuple(fc.nat(99), fc.nat(999_999)).map(([whole, part]) => `${whole}.${part}`),
);
const duration = fc
  .array(fc.tuple(digits, fc.constantFrom("ns", "us", "µs", "ms", "s", "m", "h")), {
    minLength: 1,
    maxLength: 2,
  })
  .map((parts) => parts.flat().join(""));
const quantity = fc.oneof(
  fc.double({ min: 0, max: 1e16, noNaN: true }),
  fc
    .tuple(digits, fc.constantFrom("", "n", "u", "m", "k", "M", "G", "Ki", "Mi", "e3", "E-2", "E"))
    .map((parts) => parts.join("")),
);
const gateValue = fc.constantFrom(
  "true",
  "F",
  "0",
  " t ",
  "constructor",
  "__proto__",
  "toString",
  "",
  "true=false",
);
const gate = fc
  .tuple(fc.constantFrom("flowControl", "haPopulateNonLeaderDatastore"), gateValue)
  .map(([name, value]) => `${name}=${value}`);
const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const band = fc.record({
  priority: fc.constant(1),
  maxBytes: optional(quantity),
  maxRequests: optional(quantity),
});
const flowControl = fc.record({
  maxBytes: optional(quantity),
  maxRequests: optional(quantity),
  defaultRequestTTL: optional(duration),
  noEndpointRequestTTL: optional(duration),
  priorityBands: optional(fc.tuple(band)),
});
const dataLayer = fc.record({ crossReplicaSyncInterval: optional(duration) });

const plugins = fc.constant([{ type: "queue-scorer" }]);

describe("an effective configuration", () => {
  it("is read as it was written", () => {
    const seen = { accepted: 0, refused: 0 };
    const document = fc.record({
      plugins,
      featureGates: fc.oneof(fc.constant([]), fc.array(gate, { maxLength: 2 })),
      flowControl: optional(flowControl),
      dataLayer: optional(dataLayer),
    });
    fc.assert(
      fc.property(document, (written) => {
        const { config } = loadSchedulerConfig(written, OPTIONS);
        seen[config === undefined ? "refused" : "accepted"]++;
        if (config === undefined) return;
        const again = loadSchedulerConfig(structuredClone(config), OPTIONS);
        expect(again.issues).toEqual([]);
        expect(again.config).toEqual(config);
        // And as JSON, which is how it is stored.
        expect(JSON.parse(JSON.stringify(config))).toEqual(config);
      }),
      { numRuns: 500 },
    );
    expect(seen.accepted).toBeGreaterThan(50);
    expect(seen.refused).toBeGreaterThan(50);
  });

  it.for(["constructor", "__proto__", "hasOwnProperty", "true=false", "", " "])(
    "does not come of the gate's value %j",
    (value) => {
      const { config, issues } = loadSchedulerConfig({
        plugins: [{ type: "queue-scorer" }],
        featureGates: [`flowControl=${value}`],
      });
      expect(config).toBeUndefined();
      expect(issues).toMatchObject([
        { path: ["featureGates", 0], message: expect.stringContaining("is not a valid value") },
      ]);
    },
  );
});
