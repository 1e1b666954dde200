// Collectors behind a name, on real sockets: loopback addresses stand for pods.

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, expect, it, onTestFinished } from "vitest";
import {
  COLLECTORS_TOLD_MAX,
  CollectorFeeds,
} from "../../../../src/agents/relay/learning/collector-feeds.ts";
import { retryMs } from "../../../../src/agents/relay/learning/collector-feed.ts";
import { LearnedStore } from "../../../../src/agents/relay/learning/learned-store.ts";
import { eventually } from "../../simulator/harness.ts";

interface Collector {
  readonly port: number;
  readonly told: string[];
  readonly hosts: Set<string>;
  close(): Promise<void>;
}

async function startCollector(address: string, port = 0): Promise<Collector> {
  const told: string[] = [];
  const hosts = new Set<string>();
  const server = createServer((request, response) => {
    hosts.add(request.headers.host!);
    void text(request).then((body) => {
      if (body !== "") told.push(body);
      response.end('{"epoch":"1"}');
    });
  });
  server.listen(port, address);
  await once(server, "listening");
  const close = async () => {
    server.closeAllConnections();
    if (!server.listening) return;
    server.close();
    await once(server, "close");
  };
  onTestFinished(close);
  return { port: (server.address() as AddressInfo).port, told, hosts, close };
}

const open: CollectorFeeds[] = [];
afterEach(async () => {
  for (const feeds of open.splice(0)) await feeds.close();
});

function start(port: number, resolve: () => readonly string[]) {
  const store = new LearnedStore();
  const feeds = new CollectorFeeds({
    urls: [`http://collectors.test:${port}`],
    token: "token",
    store,
    onTold: () => undefined,
    resolve: async () => {
      await Promise.resolve();
      return resolve().map((address) => ({ address, family: 4 }));
    },
    resolveMs: 10,
  });
  open.push(feeds);
  let last = 0;
  const learn = (message: string) => {
    store.add(Uint32Array.of(++last, 0), Buffer.from(message));
    feeds.wake();
  };
  return { feeds, learn };
}

it("tells every address of a name, those that come later everything, and none that has gone", async () => {
  const first = await startCollector("127.0.0.1");
  const second = await startCollector("127.0.0.2", first.port);
  const third = await startCollector("127.0.0.3", first.port);
  let addresses = ["127.0.0.1", "127.0.0.2"];
  const { feeds, learn } = start(first.port, () => addresses);
  learn("a");
  await eventually(async () => expect([first.told, second.told]).toEqual([["a"], ["a"]]));
  addresses = ["127.0.0.2", "127.0.0.3"];
  await eventually(async () => expect(third.told).toEqual(["a"]));
  await eventually(async () => expect(feeds.size).toBe(2));
  learn("b");
  await eventually(async () => expect(third.told).toEqual(["a", "b"]));
  await eventually(async () => expect(second.told).toEqual(["a", "b"]));
  expect(first.told).toEqual(["a"]);
  // The name is what is asked for: certificates and proxies go by it.
  expect([...third.hosts]).toEqual([`collectors.test:${first.port}`]);
});

it("keeps the addresses that a name had while it cannot be resolved", async () => {
  const collector = await startCollector("127.0.0.1");
  let isBroken = false;
  let asked = 0;
  const { feeds, learn } = start(collector.port, () => {
    asked++;
    if (isBroken) throw new Error("no name service");
    return ["127.0.0.1"];
  });
  await eventually(async () => expect(feeds.size).toBe(1));
  isBroken = true;
  const before = asked;
  await eventually(async () => expect(asked).toBeGreaterThan(before + 2));
  learn("a");
  await eventually(async () => expect(collector.told).toEqual(["a"]));
});

it("asks a collector that is away again within a second, however long it is away", () => {
  expect([0, 1, 50].map((failures) => retryMs(failures, 0))).toEqual([50, 100, 500]);
  expect(retryMs(50, 0.999)).toBeLessThanOrEqual(1_000);
});

it("tells no more addresses than its bound", async () => {
  const addresses = Array.from({ length: COLLECTORS_TOLD_MAX + 3 }, (_, i) => `127.0.1.${i + 1}`);
  const { feeds } = start(1, () => addresses);
  await eventually(async () => expect(feeds.size).toBe(COLLECTORS_TOLD_MAX));
});
