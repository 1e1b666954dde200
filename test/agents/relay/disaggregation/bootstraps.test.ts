// Bootstrap servers over real sockets, at a clock of the test's own.

import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  BOOTSTRAP_LIMITS,
  Bootstraps,
} from "../../../../src/agents/relay/disaggregation/bootstraps.ts";

const ENGINES = { 0: { engine_id: "e" } };
const PREFILLER = "127.0.0.1:8000";
const never = new AbortController().signal;

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

async function server() {
  const waiting: ServerResponse[] = [];
  const made = { waiting, askedCount: 0, said: JSON.stringify(ENGINES) as string | undefined };
  const http = createServer((_, response) => {
    made.askedCount += 1;
    if (made.said === undefined) waiting.push(response);
    else response.end(made.said);
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  stack.defer(() => {
    http.closeAllConnections();
    http.close();
  });
  const { port } = http.address() as AddressInfo;
  const isUsable = (said: unknown) => JSON.stringify(said) === JSON.stringify(ENGINES);
  let nowMs = 0;
  const bootstraps = new Bootstraps(() => nowMs);
  return {
    made,
    bootstraps,
    isUsable,
    port,
    ask: (signal = never) => bootstraps.ask(PREFILLER, { port, path: "/query", isUsable }, signal),
    pass: (ms: number) => (nowMs += ms),
  };
}

describe("a bootstrap server", () => {
  it("is believed for a while, and until a hand-off fails", async () => {
    const { made, bootstraps, ask, pass } = await server();
    expect(await ask()).toEqual(ENGINES);
    pass(BOOTSTRAP_LIMITS.keptMs - 1);
    expect(await ask()).toEqual(ENGINES);
    expect(made.askedCount).toBe(1);
    pass(1);
    await ask();
    expect(made.askedCount).toBe(2);
    bootstraps.forget("127.0.0.1:9999");
    await ask();
    expect(made.askedCount).toBe(3);
  });

  it.for(["{}", "[]", "not json", '{"0":{}}'])(
    "that names no engine (%s) is asked again soon, and not by every request",
    async (said) => {
      const { made, ask, pass } = await server();
      made.said = said;
      expect([await ask(), await ask()]).toEqual([undefined, undefined]);
      expect(made.askedCount).toBe(1);
      made.said = JSON.stringify(ENGINES);
      pass(BOOTSTRAP_LIMITS.failedMs);
      expect(await ask()).toEqual(ENGINES);
    },
  );

  it("is asked once for all that want to know at a time", async () => {
    const { made, ask } = await server();
    made.said = undefined;
    const asked = Promise.all(Array.from({ length: 50 }, () => ask()));
    await vi.waitFor(() => expect(made.waiting).not.toHaveLength(0));
    made.waiting[0]!.end(JSON.stringify(ENGINES));
    expect(new Set((await asked).map((said) => JSON.stringify(said)))).toEqual(
      new Set([JSON.stringify(ENGINES)]),
    );
    expect(made.askedCount).toBe(1);
  });

  it("goes on being asked for others where one leaves", async () => {
    const { made, ask } = await server();
    made.said = undefined;
    const leaving = new AbortController();
    const [left, stays] = [ask(leaving.signal), ask()];
    await vi.waitFor(() => expect(made.waiting).not.toHaveLength(0));
    leaving.abort();
    expect(await left).toBeUndefined();
    made.waiting[0]!.end(JSON.stringify(ENGINES));
    expect(await stays).toEqual(ENGINES);
    expect(made.askedCount).toBe(1);
  });

  it("is forgotten when so many others were asked", async () => {
    const { made, bootstraps, isUsable, port } = await server();
    const ask = (path: string) => bootstraps.ask(PREFILLER, { port, path, isUsable }, never);
    await ask("/first");
    for (let i = 1; i < BOOTSTRAP_LIMITS.serversMax; i++) await ask(`/${i}`);
    await ask("/first");
    expect(made.askedCount).toBe(BOOTSTRAP_LIMITS.serversMax);
    await ask("/one-more");
    await ask("/first");
    expect(made.askedCount).toBe(BOOTSTRAP_LIMITS.serversMax + 2);
  });
});
