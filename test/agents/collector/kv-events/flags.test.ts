import { expect, it } from "vitest";
import { KV_EVENT_FLAGS, kvEventsMode } from "../../../../src/agents/collector/kv-events/flags.ts";
import { parseFlags } from "../../../../src/agents/process/flags.ts";

const modeOf = (...args: string[]) =>
  kvEventsMode(parseFlags({ role: "collector", summary: "", flags: KV_EVENT_FLAGS }, args));

it("reads no KV events unless told to", () => {
  expect(modeOf()).toBeNull();
  expect(modeOf("--kv-replay-port", "5657")).toBeNull();
});

it("connects with llm-d's ports, without replay", () => {
  expect(modeOf("--kv-events", "connect")).toEqual({
    type: "connect",
    ports: { events: 5_557, replay: 0, serving: 0 },
    storageUrls: [],
  });
});

it.for([
  { listen: "0.0.0.0:5557", url: "tcp://0.0.0.0:5557" },
  { listen: "127.0.0.1:0", url: "tcp://127.0.0.1:*" },
  { listen: "[::1]:5557", url: "tcp://[::1]:5557" },
])("binds $url for $listen", ({ listen, url }) => {
  expect(modeOf("--kv-events", "bind", "--kv-events-listen", listen)).toEqual({
    type: "bind",
    url,
  });
});

it.for([
  { args: ["--kv-events", "both"], says: "one of off, connect, bind" },
  { args: ["--kv-events-port", "0"], says: "from 1 to 65535" },
  { args: ["--kv-storage-urls", "http://x:1"], says: "at most 16 of tcp://HOST:PORT" },
  {
    args: ["--kv-storage-urls", Array.from({ length: 17 }, () => "tcp://x:1").join(",")],
    says: "at most 16",
  },
  { args: ["--kv-events", "bind", "--kv-storage-urls", "tcp://x:1"], says: "storage dials too" },
])("refuses $args and says why", ({ args, says }) => {
  expect(() => modeOf(...args)).toThrow(says);
});

it("takes as many storage publishers as are allowed", () => {
  const urls = Array.from({ length: 16 }, (_, i) => `tcp://x:${i + 1}`);
  expect(modeOf("--kv-events", "connect", "--kv-storage-urls", urls.join(","))).toMatchObject({
    storageUrls: urls,
  });
});
