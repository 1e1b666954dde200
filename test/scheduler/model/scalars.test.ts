import { describe, expect, it } from "vitest";
import {
  SCALAR_MAGNITUDE_MAX,
  Scalars,
  SCALARS_MAX,
} from "../../../src/scheduler/model/scalars.ts";

describe("Scalars", () => {
  it("are unknown until told, and again when their source falls silent", () => {
    const scalars = new Scalars(4);
    scalars.define(["gpu"]);
    expect(scalars.column("gpu")![2]).toBeNaN();
    scalars.apply(2, new Map([["gpu", 0.5]]));
    expect(scalars.column("gpu")![2]).toBe(0.5);
    scalars.apply(2, new Map([["gpu", NaN]]));
    expect(scalars.column("gpu")![2]).toBeNaN();
    scalars.apply(2, new Map([["gpu", Infinity]]));
    expect(scalars.column("gpu")![2]).toBeNaN();
  });

  it("have no column for a key the configuration does not name", () => {
    const scalars = new Scalars(4);
    scalars.define(["gpu"]);
    scalars.apply(0, new Map([["other", 1]]));
    expect(scalars.column("other")).toBeUndefined();
  });

  it("keep the values of keys that stay when the configuration changes", () => {
    const scalars = new Scalars(4);
    scalars.define(["gpu", "temperature"]);
    scalars.apply(
      1,
      new Map([
        ["gpu", 0.5],
        ["temperature", 60],
      ]),
    );
    scalars.define(["power", "gpu"]);
    expect(scalars.keys).toEqual(["power", "gpu"]);
    expect(scalars.column("gpu")![1]).toBe(0.5);
    scalars.define(["temperature"]);
    expect(scalars.column("temperature")![1]).toBeNaN();
  });

  it("are unknown where they are too large to compute with", () => {
    const scalars = new Scalars(4);
    scalars.define(["gpu"]);
    const told = (value: number) => {
      scalars.apply(0, new Map([["gpu", value]]));
      return scalars.column("gpu")![0];
    };
    const max = SCALAR_MAGNITUDE_MAX;
    expect([max, -max, 1e200, -1e200, Infinity].map(told)).toEqual([max, -max, NaN, NaN, NaN]);
  });

  it("are bounded", () => {
    const scalars = new Scalars(4);
    scalars.define(Array.from({ length: SCALARS_MAX + 1 }, (_, i) => `k${i}`));
    expect(scalars.keys).toHaveLength(SCALARS_MAX);
  });
});
