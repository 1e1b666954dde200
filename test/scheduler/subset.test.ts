import { describe, expect, it } from "vitest";
import { createSubset, SUBSET_VALUES_MAX } from "../../src/scheduler/subset.ts";

const POOL = [
  "10.0.0.1:8000",
  "10.0.0.1:8002",
  "10.0.0.2:8000",
  "gpu-3.local:8000",
  "[fd00::1]:8000",
  "[fd00::1]:8002",
];

function chosen(values: readonly string[] | string): string[] {
  const isIn = createSubset(values);
  return POOL.filter((address) => isIn({ address }));
}

describe("createSubset", () => {
  it.for([
    { name: "a host means each of its ports", values: ["10.0.0.1"], expected: [0, 1] },
    { name: "a host and a port mean that endpoint", values: ["10.0.0.1:8002"], expected: [1] },
    { name: "a port that nobody has means nobody", values: ["10.0.0.1:9000"], expected: [] },
    { name: "several values add up", values: ["10.0.0.2", "10.0.0.1:8000"], expected: [0, 2] },
    { name: "unknown addresses are left out", values: ["10.9.9.9", "10.0.0.2"], expected: [2] },
    { name: "a host may be a name, in any case", values: ["GPU-3.local"], expected: [3] },
    { name: "IPv6 with a port", values: ["[fd00::1]:8002"], expected: [5] },
    { name: "IPv6 without a port", values: ["fd00::1"], expected: [4, 5] },
    { name: "IPv6 in brackets without a port", values: ["[fd00::1]"], expected: [4, 5] },
    { name: "IPv6 in another spelling", values: ["FD00:0:0:0::0001"], expected: [4, 5] },
    { name: "unbracketed IPv6 has no port", values: ["fd00::1:8000"], expected: [] },
    { name: "an empty list means nobody", values: [], expected: [] },
    { name: "a string is a list", values: " 10.0.0.2:8000 , 10.0.0.1:8002", expected: [1, 2] },
    { name: "an empty string means nobody", values: "", expected: [] },
    { name: "a prefix of a host is another host", values: ["10.0.0"], expected: [] },
  ])("$name", ({ values, expected }) => {
    expect(chosen(values)).toEqual(expected.map((index) => POOL[index]));
  });

  it.for([
    "*",
    ":8000",
    "10.0.0.1:",
    "10.0.0.1:0",
    "10.0.0.1:65536",
    "10.0.0.1:8000:1",
    "[fd00::1",
    "[fd00::1]8000",
    "fd00::1::",
    "fd00:0:0:0:0:0:0:1::",
    "fd00:0:0:0:0:0:0:0:1",
    "fd00:0:0:0:0:0:1",
    "fd00::10001",
    "http://10.0.0.1",
    "x".repeat(300),
  ])("reads nothing into %s", (value) => {
    expect(chosen([value])).toEqual([]);
  });

  it("reads an endpoint's address once, whatever the number of decisions", () => {
    let reads = 0;
    const endpoint = {
      get address() {
        reads += 1;
        return "10.0.0.1:8000";
      },
    };
    for (const value of ["10.0.0.1", "10.0.0.1:8000"])
      expect(createSubset([value])(endpoint)).toBe(true);
    expect(createSubset(["10.0.0.2"])(endpoint)).toBe(false);
    expect(reads).toBe(1);
  });

  it.for(["", "??", "http://10.0.0.1"])(
    "finds an endpoint whose address is %j nowhere",
    (address) => {
      expect(createSubset(["", " ", "??", address, "10.0.0.1"])({ address })).toBe(false);
    },
  );

  it("knows an IPv4 address inside an IPv6 one", () => {
    const isIn = createSubset(["::ffff:10.0.0.1"]);
    expect(isIn({ address: "[::ffff:a00:1]:8000" })).toBe(true);
    expect(isIn({ address: "10.0.0.1:8000" })).toBe(false);
  });

  it("looks at a bounded number of values", () => {
    const values = Array.from({ length: SUBSET_VALUES_MAX }, (_, i) => `10.1.${i >> 8}.${i % 256}`);
    expect(chosen([...values.slice(1), "10.0.0.2"])).toEqual(["10.0.0.2:8000"]);
    expect(chosen([...values, "10.0.0.2"])).toEqual([]);
    expect(chosen([...values, "10.0.0.2"].join(","))).toEqual([]);
  });
});
