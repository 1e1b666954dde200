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
import {
  CAUGHT_UP_HEADER,
  type Heard,
  LEARNED_LIMITS,
} from "../../../../src/agents/learning/learned-message.ts";
import { LearnedStore } from "../../../../src/agents/relay/learning/learned-store.ts";
import { eventually } from "../../simulator/harness.ts";

interface Collector {
  readonly port: number;
  /** What it answers next. */
  heard: Heard;
  /** Refuses messages that have this in them. */
  refuses: string | undefined;
  readonly told: string[];
  /** Answers everything with 429, so often until now. */
  isBusy: boolean;
  busy: number;
  /** Messages that were sent, also those that were refused. */
  sent: number;
  /** Of each message, with what came of it: the life that has been told all again. */
  readonly caughtUp: unknown[];
  readonly caughtUpAt: Map<string, unknown>;
  readonly hosts: Set<string>;
  close(): Promise<void>;
}

async function startCollector(address: string, port = 0): Promise<Collector> {
  const told: string[] = [];
  const caughtUp: unknown[] = [];
  const caughtUpAt = new Map<string, unknown>();
  const hosts = new Set<string>();
  const server = createServer((request, response) => {
    hosts.add(request.headers.host!);
    void text(request).then((body) => {
      if (body !== "") collector.sent++;
      if (collector.isBusy) {
        collector.busy++;
        response.writeHead(429).end();
        return;
      }
      if (collector.refuses !== undefined && body.includes(collector.refuses)) {
        response.writeHead(400).end();
        return;
      }
      if (body !== "") told.push(body);
      caughtUp.push(request.headers[CAUGHT_UP_HEADER]);
      caughtUpAt.set(body, request.headers[CAUGHT_UP_HEADER]);
      response.end(JSON.stringify(collector.heard));
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
  const { port: found } = server.address() as AddressInfo;
  const collector: Collector = {
    port: found,
    heard: { epoch: "1" },
    refuses: undefined,
    told,
    isBusy: false,
    busy: 0,
    sent: 0,
    caughtUp,
    caughtUpAt,
    hosts,
    close,
  };
  return collector;
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

it("tells a collector that began anew everything again in a few messages, once it keeps them", async () => {
  const collector = await startCollector("127.0.0.1");
  collector.heard = { epoch: "1", promptsMax: 3 };
  const { learn } = start(collector.port, () => ["127.0.0.1"]);
  for (const message of ["a", "b", "c", "d"]) learn(message);
  await eventually(async () => expect(collector.told.at(-1)).toMatch(/d\]?$/u));
  await eventually(async () => expect(collector.caughtUp.at(-1)).toBe("1"));
  collector.told.length = 0;
  collector.heard = { epoch: "2", promptsMax: 3, isReady: false };
  await eventually(async () => expect(collector.caughtUp.at(-1)).toBe(""));
  collector.caughtUp.length = 0;
  await eventually(async () => expect(collector.caughtUp.length).toBeGreaterThan(1));
  expect(collector.told).toEqual([]);
  collector.caughtUp.length = 0;
  collector.heard = { epoch: "3", promptsMax: 3, isReady: true };
  await eventually(async () => expect(collector.told).toEqual(["[a,b,c]", "d"]));
  // It has all with the last of these, and none of it before.
  expect([collector.caughtUpAt.get("[a,b,c]"), collector.caughtUpAt.get("d")]).toEqual(["", "3"]);
});

it("tells in parts what was not taken together, and gives up on the wrong one alone", async () => {
  const collector = await startCollector("127.0.0.1");
  const { learn } = start(collector.port, () => ["127.0.0.1"]);
  learn("a");
  await eventually(async () => expect(collector.told).toEqual(["a"]));
  for (const message of ["b", "wrong", "c"]) learn(message);
  collector.refuses = "wrong";
  collector.heard = { epoch: "2", promptsMax: 9 };
  await eventually(async () => expect(collector.told.slice(-2)).toEqual(["[a,b]", "c"]));
  learn("d");
  learn("e");
  await eventually(async () => expect(collector.told.at(-1)).toMatch(/e\]?$/u));
});

it("tells each life many at once, but for the few messages in which it finds a wrong one", async () => {
  const collector = await startCollector("127.0.0.1");
  const { learn } = start(collector.port, () => ["127.0.0.1"]);
  const { promptsMax } = LEARNED_LIMITS;
  const count = 8 * promptsMax;
  collector.refuses = "wrong";
  // The last of the second message of so many, where it takes the longest to find.
  const wrong = 3 * promptsMax - 3;
  for (let i = 0; i < count; i++) learn(i === wrong ? "wrong" : `p${i},`);
  for (const epoch of ["2", "3", "4"]) {
    collector.caughtUp.length = 0;
    collector.told.length = 0;
    collector.heard = { epoch, promptsMax };
    // However few it is told at once to begin with.
    collector.isBusy = true;
    const { busy } = collector;
    await eventually(async () => expect(collector.busy).toBeGreaterThan(busy));
    collector.isBusy = false;
    collector.sent = 0;
    await eventually(async () => expect(collector.caughtUp).toContain(epoch));
    const told = collector.told.join("").match(/p\d+/gu);
    expect(new Set(told).size).toBe(count - 1);
    // Up to many at once, halved until the wrong one is found, each time with the other half, and up again.
    const steps = Math.log2(promptsMax);
    expect(collector.sent).toBeLessThanOrEqual(count / promptsMax + 4 * steps + 2);
  }
});

it("tells one by one where none is taken, and many again to a life that takes them", async () => {
  const collector = await startCollector("127.0.0.1");
  const { learn } = start(collector.port, () => ["127.0.0.1"]);
  const { promptsMax } = LEARNED_LIMITS;
  const count = 2 * promptsMax;
  for (let i = 0; i < count; i++) learn("of another release,");
  await eventually(async () => expect(collector.caughtUp).toContain("1"));
  collector.told.length = 0;
  collector.sent = 0;
  collector.refuses = "another";
  collector.heard = { epoch: "2", promptsMax };
  await eventually(async () => expect(collector.caughtUp).toContain("2"));
  expect(collector.told).toEqual([]);
  expect(collector.sent).toBeLessThanOrEqual(count + 2 * Math.log2(promptsMax));
  collector.refuses = undefined;
  collector.heard = { epoch: "3", promptsMax };
  await eventually(async () => expect(collector.caughtUp).toContain("3"));
  expect(collector.told.length).toBeLessThan(count / 4);
});

it("asks a collector that is away again within a second, however long it is away", () => {
  expect([0, 1, 50].map((failures) => retryMs(failures, 0))).toEqual([50, 100, 250]);
  expect(retryMs(50, 0.999)).toBeLessThanOrEqual(500);
});

it("tells no more addresses than its bound", async () => {
  const addresses = Array.from({ length: COLLECTORS_TOLD_MAX + 3 }, (_, i) => `127.0.1.${i + 1}`);
  const { feeds } = start(1, () => addresses);
  await eventually(async () => expect(feeds.size).toBe(COLLECTORS_TOLD_MAX));
});
