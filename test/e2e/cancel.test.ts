// A client that leaves, in every phase of its request and in both ways a TCP client can leave. The
// engine must stop working for it, and nothing may stay counted anywhere.

import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CONNECT_TIMEOUT_MS } from "../../src/agents/relay/engine-pools.ts";
import type { PoolState } from "../../src/durable/state.ts";
import {
  eventually,
  startEngines,
  startFairlead,
  TIME_SCALE,
  type Engines,
  type Fairlead,
} from "./harness.ts";
import { openClient } from "./tcp-client.ts";

/** Time to the first token, and between tokens, in real time. */
const FIRST_TOKEN_MS = 1_500;
const TOKEN_MS = 200;
/** More connections than any accept queue of ours holds. */
const FILLERS_MAX = 8_192;
/** How long a connect may take before the queue it waits for counts as full. */
const CONNECT_MS = 500;

let engine: Engines;
let up: Fairlead;
beforeAll(async () => {
  const flags = {
    "max-num-seqs": "1",
    "time-to-first-token": `${FIRST_TOKEN_MS / TIME_SCALE}ms`,
    "inter-token-latency": `${TOKEN_MS / TIME_SCALE}ms`,
  };
  engine = await startEngines(
    1,
    ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]),
  );
  up = await startFairlead("--endpoint", engine.origins[0]!);
});
afterAll(async () => {
  await up?.[Symbol.asyncDispose]();
  engine?.child.kill("SIGKILL");
});

interface SimState {
  readonly running: number;
  readonly waiting: number;
  readonly aborted: number;
  readonly requests: readonly { readonly outcome: string }[];
}

async function engineState(): Promise<SimState> {
  const response = await fetch(`${engine.origins[0]}/sim/state`);
  return (await response.json()) as SimState;
}

async function poolState(): Promise<PoolState> {
  return (await up.admin("/pools/local")) as PoolState;
}

const until = (what: string, holds: () => Promise<boolean> | boolean, timeoutMs = 10_000) =>
  eventually(what, async () => ((await holds()) ? true : undefined), timeoutMs);

/** The engine holds `running` and `waiting` requests. */
const engineHolds = (running: number, waiting: number) =>
  until(`${running} running and ${waiting} waiting`, async () => {
    const state = await engineState();
    return state.running === running && state.waiting === waiting;
  });

const nothingCounted = () =>
  until("the object has no ticket and no load in flight", async () => {
    const { tickets, endpoints } = await poolState();
    return (
      tickets.open === 0 &&
      tickets.unsettled === 0 &&
      endpoints.every((each) => each.inFlightRequests === 0 && each.inFlightTokens === 0)
    );
  });

/** The requests in the relay's log, oldest first. */
function relayed(): { readonly outcome: string; readonly durationMs: number }[] {
  return up
    .logs()
    ["relay-local.log"]!.split("\n")
    .filter((line) => line.includes('"msg":"request"'))
    .map((line) => JSON.parse(line) as { outcome: string; durationMs: number });
}

describe.for(["FIN", "RST"] as const)("a client that leaves by %s", { timeout: 60_000 }, (how) => {
  it("while its request waits in the engine's queue", async () => {
    const first = openClient(up, { isStream: true });
    await engineHolds(1, 0);
    const second = openClient(up, { isStream: true });
    await engineHolds(1, 1);
    const { aborted } = await engineState();
    second.leave(how);
    await engineHolds(1, 0);
    expect((await engineState()).aborted).toBe(aborted + 1);
    expect(first.socket.destroyed).toBe(false);
    first.leave(how);
    await engineHolds(0, 0);
    await nothingCounted();
  });

  it.for([
    { name: "before the first token of a stream", isStream: true },
    { name: "before an answer that is not streamed", isStream: false },
  ])("$name", async ({ isStream }) => {
    const { aborted } = await engineState();
    const client = openClient(up, { isStream });
    await engineHolds(1, 0);
    expect(client.received()).not.toContain("data:");
    client.leave(how);
    await engineHolds(0, 0);
    const state = await engineState();
    expect(state.aborted).toBe(aborted + 1);
    expect(state.requests.at(-1)!.outcome).toBe("aborted");
    await nothingCounted();
  });

  it("in the middle of a stream", async () => {
    const { aborted } = await engineState();
    const client = openClient(up, { isStream: true });
    await until("some tokens", () => client.received().split("data:").length > 3);
    client.leave(how);
    await engineHolds(0, 0);
    expect((await engineState()).aborted).toBe(aborted + 1);
    await nothingCounted();
  });

  it("while the relay still connects", async () => {
    const { requests } = await engineState();
    await using _queue = await fillAcceptQueue(engine);
    const before = relayed().length;
    const client = openClient(up, { isStream: true });
    await until("a relay has the ticket", async () => (await poolState()).tickets.open === 1);
    client.leave(how);
    await until("the relay has given up", () => relayed().length > before);
    expect(relayed().at(-1)!.outcome).toBe("cancelled");
    expect(relayed().at(-1)!.durationMs).toBeLessThan(CONNECT_TIMEOUT_MS);
    await nothingCounted();
    await _queue[Symbol.asyncDispose]();
    expect((await engineState()).requests).toHaveLength(requests.length);
  });
});

/** Stops an engine and fills its accept queue, so that further connects wait. */
async function fillAcceptQueue({ child, origins }: Engines): Promise<AsyncDisposable> {
  const { hostname, port } = new URL(origins[0]!);
  child.kill("SIGSTOP");
  const fillers: Socket[] = [];
  const join = () => {
    const socket = connect({ host: hostname, port: Number(port) });
    socket.on("error", () => undefined);
    fillers.push(socket);
    return new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true));
      setTimeout(() => resolve(false), CONNECT_MS);
    });
  };
  while (fillers.length < FILLERS_MAX) {
    const joined = await Promise.all(Array.from({ length: 64 }, join));
    if (joined.includes(false)) break;
  }
  return {
    async [Symbol.asyncDispose]() {
      for (const socket of fillers.splice(0)) socket.destroy();
      child.kill("SIGCONT");
      await until("the engine answers", () => engineState().then(() => true));
    },
  };
}
