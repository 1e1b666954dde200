import { describe, expect, it } from "vitest";
import {
  isEventsUrl,
  replayUrlsOf,
  targetsOf,
  URL_MISTAKES_MAX,
} from "../../../../src/agents/collector/kv-events/event-urls.ts";
import type { EndpointRecord } from "../../../../src/agents/protocol/messages.ts";

const PORTS = { events: 5_557, replay: 0, serving: 0 };

function endpoint(labels: Record<string, string> = {}, address = "10.0.0.7:8000"): EndpointRecord {
  return { id: `ns/${address}`, address, engine: "vllm", labels };
}

const urls = (record: EndpointRecord, ports = PORTS) =>
  targetsOf([record], ports).targets.map(({ rank, eventsUrl, replayUrl }) => [
    rank,
    eventsUrl,
    replayUrl,
  ]);

describe("replayUrlsOf", () => {
  it("gives the label's URLs by the ranks that batches say", () => {
    const labels = {
      "fairlead/kv-replay-url": "tcp://a:3,tcp://a:4",
      "fairlead/kv-events-rank": "6",
    };
    expect(replayUrlsOf(endpoint(labels))).toEqual(
      new Map([
        [6, "tcp://a:3"],
        [7, "tcp://a:4"],
      ]),
    );
    expect(replayUrlsOf(endpoint())).toEqual(new Map());
  });

  it.for([
    { label: "fairlead/kv-replay-url", value: "a:3", says: "is not tcp://HOST:PORT" },
    { label: "fairlead/kv-replay-url", value: "tcp://a:3,".repeat(15), says: "more than 14" },
    { label: "fairlead/kv-events-rank", value: "first", says: "must be 0 to" },
  ])("says what is wrong with $label: $value", ({ label, value, says }) => {
    expect(replayUrlsOf(endpoint({ [label]: value }))).toContain(says);
  });
});

describe("targetsOf", () => {
  it("derives URLs from ports and ranks", () => {
    expect(urls(endpoint())).toEqual([[0, "tcp://10.0.0.7:5557", null]]);
    const ports = { ...PORTS, replay: 5_657 };
    expect(urls(endpoint({ "fairlead/kv-events-ranks": "2" }), ports)).toEqual([
      [0, "tcp://10.0.0.7:5557", "tcp://10.0.0.7:5657"],
      [1, "tcp://10.0.0.7:5558", "tcp://10.0.0.7:5658"],
    ]);
    expect(urls(endpoint({}, "[fd00::7]:8000"))).toEqual([[0, "tcp://[fd00::7]:5557", null]]);
  });

  it("takes an endpoint's rank from its serving port, or from a label", () => {
    const ports = { ...PORTS, serving: 8_000 };
    const eventsOf = (port: number, labels = {}) =>
      urls(endpoint(labels, `h:${port}`), ports)[0]![1];
    expect(eventsOf(8_000)).toBe("tcp://h:5557");
    expect(eventsOf(8_003)).toBe("tcp://h:5560");
    expect(eventsOf(8_255)).toBe("tcp://h:5812");
    expect(eventsOf(8_256)).toBe("tcp://h:5557");
    expect(eventsOf(7_999)).toBe("tcp://h:5557");
    expect(eventsOf(8_003, { "fairlead/kv-events-rank": "11" })).toBe("tcp://h:5568");
  });

  it("takes URLs as labels say them, one a rank, and derives none beside", () => {
    const labels = { "fairlead/kv-events-url": "tcp://a:1,tcp://a:2" };
    const ports = { ...PORTS, replay: 5_657 };
    expect(urls(endpoint(labels), ports)).toEqual([
      [0, "tcp://a:1", null],
      [1, "tcp://a:2", null],
    ]);
    const replay = { ...labels, "fairlead/kv-replay-url": "tcp://a:3,tcp://a:4" };
    expect(urls(endpoint(replay))).toEqual([
      [0, "tcp://a:1", "tcp://a:3"],
      [1, "tcp://a:2", "tcp://a:4"],
    ]);
  });

  it.for([
    { says: "no rank at all", labels: { "fairlead/kv-events-ranks": "0" }, mistake: "must be 1" },
    { says: "too many ranks", labels: { "fairlead/kv-events-ranks": "15" }, mistake: "1 to 14" },
    {
      says: "a rank that is none",
      labels: { "fairlead/kv-events-rank": "x" },
      mistake: "0 to 256",
    },
    { says: "an empty rank", labels: { "fairlead/kv-events-rank": "" }, mistake: "0 to 256" },
    {
      says: "a URL of another scheme",
      labels: { "fairlead/kv-events-url": "http://a:1" },
      mistake: '"http://a:1"',
    },
    {
      says: "a port that is none",
      labels: { "fairlead/kv-events-url": "tcp://a:65536" },
      mistake: "tcp://HOST:PORT",
    },
    {
      says: "fewer URLs than ranks",
      labels: { "fairlead/kv-events-url": "tcp://a:1", "fairlead/kv-events-ranks": "2" },
      mistake: "1 URLs for 2 ranks",
    },
    {
      says: "fewer replays than publishers",
      labels: {
        "fairlead/kv-events-url": "tcp://a:1,tcp://a:2",
        "fairlead/kv-replay-url": "tcp://a:3",
      },
      mistake: "1 URLs for 2 ranks",
    },
  ])("does not follow an endpoint with $says, and says why", ({ labels, mistake }) => {
    const { targets, mistakes } = targetsOf([endpoint(labels), endpoint({}, "h:1")], PORTS);
    expect(targets.map((target) => target.endpoint)).toEqual(["ns/h:1"]);
    expect(mistakes).toEqual([expect.stringContaining(mistake)]);
  });

  it("reads no socket as two endpoints", () => {
    const { targets, mistakes } = targetsOf(
      [endpoint({}, "h:8000"), endpoint({}, "h:8001"), endpoint({}, "g:8000")],
      PORTS,
    );
    expect(targets.map((target) => target.endpoint)).toEqual(["ns/g:8000"]);
    expect(mistakes).toEqual([
      "tcp://h:5557 would be events of ns/h:8000 and events of ns/h:8001: say with labels which it is",
    ]);
  });

  it("takes no rank's replays for the next rank's events", () => {
    const twoRanks = endpoint({ "fairlead/kv-events-ranks": "2" }, "h:8000");
    const { targets, mistakes } = targetsOf([twoRanks, endpoint({}, "g:8000")], {
      ...PORTS,
      replay: 5_558,
    });
    expect(targets.map((target) => target.endpoint)).toEqual(["ns/g:8000"]);
    expect(mistakes).toEqual([
      "tcp://h:5558 would be replays of ns/h:8000 and events of ns/h:8000: say with labels which it is",
    ]);
  });

  it("tells a bounded number of mistakes", () => {
    const bad = { "fairlead/kv-events-ranks": "0" };
    const many = Array.from({ length: URL_MISTAKES_MAX + 1 }, (_, i) =>
      endpoint(bad, `h:${i + 1}`),
    );
    expect(targetsOf(many, PORTS).mistakes).toHaveLength(URL_MISTAKES_MAX);
  });
});

it("knows what ZeroMQ can connect to", () => {
  for (const good of ["tcp://a:1", "tcp://10.0.0.7:65535", "tcp://[::1]:5557"])
    expect(isEventsUrl(good)).toBe(true);
  for (const bad of ["tcp://a:0", "tcp://a", "ipc://x", "tcp://a:1/x", "tcp://*:1", " tcp://a:1"]) {
    expect(isEventsUrl(bad)).toBe(false);
  }
});
