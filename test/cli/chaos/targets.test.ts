import { describe, expect, it } from "vitest";
import { UsageError } from "../../../src/cli/cli-error.ts";
import { parseChaosOptions } from "../../../src/cli/chaos/options.ts";
import { deedOf } from "../../../src/cli/chaos/targets.ts";
import { linkNames, planClusters } from "../../../src/cli/up/clusters.ts";

const [plan] = planClusters([30]);
const CLUSTER = {
  ...plan!,
  processes: {
    engines: ["engines-cluster-1"],
    agents: ["collector-cluster-1"],
    relays: ["relay-cluster-1"],
    object: "coordinator-1",
    links: "links",
  },
  links: linkNames(plan!),
  endpoints: ["127.0.0.1:9001"],
};

const deed = (line: string) => {
  const options = parseChaosOptions(line.split(" "));
  return deedOf(options, options.target.part === "directory" ? undefined : CLUSTER);
};
const links = (...names: string[]) => ({ by: "links", process: "links", links: names });

describe("deedOf", () => {
  it.for([
    [
      "kill cluster-1",
      {
        by: "up",
        names: ["engines-cluster-1", "collector-cluster-1", "relay-cluster-1"],
        do: "kill",
      },
    ],
    ["kill agents:cluster-1", { by: "up", names: ["collector-cluster-1"], do: "kill" }],
    ["kill object:cluster-1", { by: "up", names: ["coordinator-1"], do: "kill" }],
    ["kill directory", { by: "up", names: ["coordinator-0"], do: "kill" }],
    ["drain relays:cluster-1", { by: "up", names: ["relay-cluster-1"], do: "stop" }],
    ["drain cluster-1", { by: "worker", pool: "cluster-1", isDrain: true }],
    ["undrain cluster-1", { by: "worker", pool: "cluster-1", isDrain: false }],
    [
      "cut cluster-1",
      { ...links("requests-cluster-1", "agents-cluster-1"), change: { cut: "refuse" } },
    ],
    [
      "cut agents:cluster-1 --mode blackhole",
      { ...links("agents-cluster-1"), change: { cut: "blackhole" } },
    ],
    ["cut requests:cluster-1", { ...links("requests-cluster-1"), change: { cut: "refuse" } }],
    [
      "slow requests:cluster-1 --rtt 700",
      { ...links("requests-cluster-1"), change: { rttMs: 700 } },
    ],
    ["cut engines:cluster-1", { by: "engines", endpoints: ["127.0.0.1:9001"] }],
    ["cut object:cluster-1", { by: "up", names: ["coordinator-1"], do: "kill" }],
    ["cut object:cluster-1 --mode blackhole", { by: "up", names: ["coordinator-1"], do: "freeze" }],
    ["cut directory --mode reset", { by: "up", names: ["coordinator-0"], do: "kill", forMs: 1 }],
  ] as const)("%s", ([line, expected]) => {
    expect(deed(line)).toEqual(expected);
  });

  it.for([
    ["slow engines:cluster-1", "slow means nothing for engines"],
    ["slow directory", "slow means nothing for directory"],
    ["kill requests:cluster-1", "kill means nothing for requests"],
    ["drain object:cluster-1", "drain means nothing for object"],
    ["undrain relays:cluster-1", "undrain means nothing for relays"],
    ["cut relays:cluster-1", "cut means nothing for relays"],
    ["cut engines:cluster-1 --mode blackhole", "with --mode refuse only"],
    ["burn cluster-1", "ACTION is one of kill, cut, slow, drain, undrain"],
    ["cut nodes:cluster-1", "TARGET is a cluster such as cluster-2, agents:cluster-2"],
    ["cut cluster-1 --mode half", "--mode is one of refuse, blackhole, reset"],
    ["kill cluster-1 --for 29s", "--duration must be at least two seconds longer"],
    ["kill cluster-1 --rate 0", "--rate takes a number from 1"],
    ["kill cluster-1 --streams 2", "--streams takes a number from 0 to 1"],
    ["kill", "TARGET is missing"],
  ] as const)("%s is refused with a reason", ([line, says]) => {
    expect(() => deed(line)).toThrow(UsageError);
    expect(() => deed(line)).toThrow(says);
  });
});

describe("parseChaosOptions", () => {
  it("acts after five seconds at most, and leaves as long afterwards", () => {
    const of = (line: string) => parseChaosOptions(line.split(" "));
    expect(of("kill cluster-1")).toMatchObject({ beforeMs: 5_000, forMs: 5_000, ratePerS: 100 });
    expect(of("kill cluster-1 --duration 9s --for 3s")).toMatchObject({ beforeMs: 2_000 });
    expect(of("kill cluster-1 --stay").forMs).toBeNull();
    expect(of("undrain cluster-1").forMs).toBeNull();
  });
});
