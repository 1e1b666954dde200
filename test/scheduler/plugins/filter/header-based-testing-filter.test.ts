import { describe, expect, it } from "vitest";
import { findPlugin } from "../../../../src/scheduler/registry.ts";
import { pickContext } from "../../support/pick-context.ts";
import { keptBy } from "../../support/plugins.ts";

const TYPE = "header-based-testing-filter";
const rows = [
  { address: "10.0.0.1:3000" },
  { address: "10.0.0.1:3002" },
  { address: "10.0.0.2:3000" },
  { address: "[fd00::1]:3000" },
];

function kept(header: string | undefined): number[] {
  const headers = header === undefined ? {} : { "test-epp-endpoint-selection": header };
  return keptBy(TYPE, {}, pickContext(rows, { request: { headers } }));
}

describe("header-based-testing-filter", () => {
  it.for([
    { name: "every rank of a host", header: "10.0.0.1", want: [0, 1] },
    { name: "one rank", header: "10.0.0.1:3002", want: [1] },
    {
      name: "several endpoints, each once",
      header: "10.0.0.2:3000, 10.0.0.1:3000,10.0.0.2",
      want: [0, 2],
    },
    { name: "an IPv6 address with a port", header: "[fd00::1]:3000", want: [3] },
    { name: "an IPv6 address without", header: "fd00::1", want: [3] },
    { name: "nobody who is not there", header: "10.0.0.9", want: [] },
    { name: "nobody for an empty header", header: " ", want: [] },
    { name: "nobody without the header", header: undefined, want: [] },
  ])("keeps $name", ({ header, want }) => {
    expect(kept(header)).toEqual(want);
  });

  it("asks for its header, and says what it does to clients", () => {
    const plugin = findPlugin(TYPE)!;
    expect(plugin.requestHeaders!({})).toEqual(["test-epp-endpoint-selection"]);
    expect(plugin.notes!({})).toHaveLength(1);
  });
});
