import { describe, expect, it } from "vitest";
import { UsageError } from "../../../src/cli/cli-error.ts";
import { parseUpOptions } from "../../../src/cli/up/options.ts";

describe("parseUpOptions", () => {
  it("runs three simulated engines on port 8787 unless told otherwise", () => {
    expect(parseUpOptions([])).toEqual({
      host: "127.0.0.1",
      port: 8787,
      stateDir: ".fairlead",
      engines: { kind: "simulated", count: 3, timeScale: 1, flags: {} },
      model: "fairlead-sim",
      configFile: undefined,
      clusterRttsMs: undefined,
      isJson: false,
      hasKvEvents: false,
      kvKeys: "content",
      decide: undefined,
      shards: undefined,
      objectRttMs: 0,
      exitsWithParent: false,
    });
  });

  it("splits objects from the Worker when told how many processes they get", () => {
    expect(parseUpOptions([]).coordinatorCount).toBeUndefined();
    expect(parseUpOptions(["--coordinators", "8"]).coordinatorCount).toBe(8);
  });

  it("gives clusters times from 30 to 150 ms, or those that are named", () => {
    const rtts = (...args: string[]) => parseUpOptions(["--clusters", ...args]).clusterRttsMs;
    expect(rtts("3")).toEqual([30, 90, 150]);
    expect(rtts("1")).toEqual([30]);
    expect(rtts("3", "--rtt", "30,80,150")).toEqual([30, 80, 150]);
    expect(rtts("2", "--rtt", "0")).toEqual([0, 0]);
  });

  it("says where endpoints are picked, by how many objects, and how far away these seem", () => {
    const args = "--decide local --shards 4 --object-rtt-ms 40".split(" ");
    expect(parseUpOptions(args)).toMatchObject({ decide: "local", shards: 4, objectRttMs: 40 });
    const rtt = ["--config", "f.yaml", "--object-rtt-ms", "1000"];
    expect(parseUpOptions(rtt)).toMatchObject({ objectRttMs: 1_000, decide: undefined });
  });

  it("passes parameters on to the simulated engines", () => {
    const { engines } = parseUpOptions(
      "--engines 2 --time-scale 0.05 --engine-arg max-num-seqs=8 --engine-arg block-size=32".split(
        " ",
      ),
    );
    expect(engines).toEqual({
      kind: "simulated",
      count: 2,
      timeScale: 0.05,
      flags: { "max-num-seqs": "8", "block-size": "32" },
    });
  });

  it("runs prefill and decode apart", () => {
    expect(parseUpOptions("--prefill 2 --decode 3".split(" ")).engines).toMatchObject({
      count: 5,
      stages: { prefill: 2, decode: 3, connector: "nixlv2" },
    });
    const sglang = "--prefill 1 --decode 1 --kv-connector sglang".split(" ");
    expect(parseUpOptions(sglang).engines).toMatchObject({ stages: { connector: "sglang" } });
  });

  it("takes real engines as URLs or as a file, and asks them for their model", () => {
    const urls = parseUpOptions(["--endpoint", "http://a:1", "--endpoint", "http://[::1]:2/v1"]);
    expect(urls).toMatchObject({
      engines: { kind: "urls", origins: ["http://a:1", "http://[::1]:2"] },
      model: undefined,
    });
    expect(parseUpOptions(["--endpoints", "e.yaml"]).engines).toEqual({
      kind: "file",
      file: "e.yaml",
    });
  });

  it.for([
    { args: ["--prot", "1"], says: "--prot" },
    { args: ["--clusters", "9"], says: "--clusters takes a number from 1 to 8" },
    { args: ["--rtt", "30"], says: "--rtt is of clusters" },
    { args: ["--clusters", "3", "--rtt", "30,80"], says: "one for each of the 3 clusters" },
    { args: ["--clusters", "2", "--rtt", "30,"], says: "--rtt takes a number from 0 to 2000" },
    { args: ["--clusters", "2", "--coordinators", "2"], says: "leave out --coordinators" },
    { args: ["--clusters", "2", "--endpoint", "http://a:1"], says: "leave out --endpoint" },
    { args: ["--clusters", "2", "--config", "f"], says: "leave out --config" },
    { args: ["--decide", "edge"], says: 'takes auto, local, consult, not "edge"' },
    { args: ["--shards", "17"], says: "--shards takes a number from 1 to 16" },
    { args: ["--shards", "0"], says: "--shards takes a number from 1 to 16" },
    { args: ["--object-rtt-ms", "1001"], says: "--object-rtt-ms takes a number from 0 to 1000" },
    { args: ["--object-rtt-ms", "0.5"], says: "whole number" },
    { args: ["--config", "f", "--decide", "local"], says: "leave out --decide" },
    { args: ["--config", "f", "--shards", "2"], says: "leave out --decide and --shards" },
    { args: ["extra"], says: '"extra" was not expected' },
    { args: ["--port"], says: "--port" },
    { args: ["--port", "70000"], says: "--port takes a number from 0 to 65535" },
    { args: ["--port", "1.5"], says: "--port takes a whole number" },
    { args: ["--port", ""], says: "--port takes a number" },
    { args: ["--prefill", "1"], says: "--prefill and --decode go together" },
    { args: ["--decode", "1"], says: "--prefill and --decode go together" },
    {
      args: ["--prefill", "1", "--decode", "1", "--engines", "3"],
      says: "leave out --engines",
    },
    { args: ["--prefill", "0", "--decode", "1"], says: "--prefill takes a number from 1 to 128" },
    { args: ["--prefill", "1", "--decode", "129"], says: "--decode takes a number from 1 to 128" },
    {
      args: ["--prefill", "1", "--decode", "1", "--kv-connector", "nixl"],
      says: "--kv-connector takes nixlv2, sglang, mooncake",
    },
    { args: ["--kv-connector", "nixlv2"], says: "--kv-connector needs --prefill and --decode" },
    {
      args: ["--endpoint", "http://a:1", "--prefill", "1"],
      says: "--prefill is about simulated engines",
    },
    { args: ["--engines", "0"], says: "--engines takes a number from 1 to 256" },
    { args: ["--engines", "257"], says: "--engines takes a number from 1 to 256" },
    { args: ["--time-scale", "fast"], says: "--time-scale takes a number" },
    { args: ["--engine-arg", "seqs"], says: "--engine-arg takes name=value" },
    { args: ["--engine-arg", "a=1", "--engine-arg", "a=2"], says: "--engine-arg a is given twice" },
    { args: ["--coordinators", "0"], says: "--coordinators takes a number from 1 to 8" },
    { args: ["--coordinators", "9"], says: "--coordinators takes a number from 1 to 8" },
    { args: ["--endpoint", "ten"], says: "--endpoint takes a URL" },
    { args: ["--endpoint", "https://a"], says: "plain HTTP" },
    { args: ["--endpoint", "http://a/v2"], says: "nothing behind it" },
    { args: ["--endpoint", "http://a", "--endpoint", "http://a/"], says: "given twice" },
    { args: ["--endpoint", "http://a", "--endpoints", "f"], says: "not both" },
    { args: ["--endpoint", "http://a", "--engines", "2"], says: "about simulated engines" },
    { args: ["--config", "f", "--model", "m"], says: "--config already says" },
    { args: ["--config", "f", "--kv-keys", "tokens"], says: "leave out --kv-keys" },
    { args: ["--kv-keys", "bytes"], says: "--kv-keys takes content or tokens" },
  ])("refuses $args", ({ args, says }) => {
    expect(() => parseUpOptions(args)).toThrow(UsageError);
    expect(() => parseUpOptions(args)).toThrow(says);
  });
});
