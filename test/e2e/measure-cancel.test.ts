// A client that leaves, in every phase of its request and in both ways a TCP client can leave. The
// engine must stop working for it, and nothing may stay counted anywhere.

import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, it } from "vitest";
import type { PoolState } from "../../src/durable/contract.ts";
import {
  eventually,
  startEngines,
  startFairlead,
  TIME_SCALE,
  type Engines,
  type Fairlead,
} from "./harness.ts";

/** Time to the first token, and between tokens, in real time. */
const FIRST_TOKEN_MS = 1_000;
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

/** A client whose socket a test may close as it likes. */
interface Client {
  readonly socket: Socket;
  readonly received: () => string;
  readonly leave: (how: "FIN" | "RST") => void;
}

function send(options: { isStream: boolean }): Client {
  const { hostname, port } = new URL(up.url);
  const body = JSON.stringify({
    model: up.model,
    messages: [{ role: "user", content: "Tell me a long story." }],
    max_tokens: 500,
    ignore_eos: true,
    ...(options.isStream ? { stream: true } : {}),
  });
  const socket = connect({ host: hostname, port: Number(port) });
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  socket.on("error", () => undefined);
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: ${hostname}\r\nauthorization: Bearer ${up.key}\r\n` +
      `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
  return {
    socket,
    received: () => text,
    leave: (how) => void (how === "FIN" ? socket.end() : socket.resetAndDestroy()),
  };
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

/** Outcomes in the relay's log, oldest first. */
function relayOutcomes(): string[] {
  return up
    .logs()
    ["relay-local.log"]!.split("\n")
    .filter((line) => line.includes('"msg":"request"'))
    .map((line) => (JSON.parse(line) as { outcome: string }).outcome);
}

const t: Record<string, number[]> = {};
async function timed(name: string, leave: () => void, before: number) {
  const at = performance.now();
  leave();
  for (;;) {
    const s = await engineState();
    if (s.aborted > before) break;
    if (performance.now() - at > 10_000) throw new Error("never");
  }
  (t[name] ??= []).push(performance.now() - at);
}
it("measures", { timeout: 600_000 }, async () => {
  for (const how of ["FIN", "RST"] as const) {
    for (let i = 0; i < 7; i++) {
      const first = send({ isStream: true });
      await engineHolds(1, 0);
      const second = send({ isStream: true });
      await engineHolds(1, 1);
      let { aborted } = await engineState();
      await timed(`queued ${how}`, () => second.leave(how), aborted);
      aborted++;
      await timed(`first-byte ${how}`, () => first.leave(how), aborted);
      await engineHolds(0, 0);
      const third = send({ isStream: false });
      await engineHolds(1, 0);
      await timed(`non-stream ${how}`, () => third.leave(how), aborted + 1);
      await engineHolds(0, 0);
      const fourth = send({ isStream: true });
      await until("some tokens", () => fourth.received().split("data:").length > 3);
      await timed(`mid-stream ${how}`, () => fourth.leave(how), aborted + 2);
      await engineHolds(0, 0);
      await nothingCounted();
    }
    for (let i = 0; i < 5; i++) {
      await using _q = await fillAcceptQueue(engine);
      const n = relayOutcomes().length;
      const c = send({ isStream: true });
      await until("ticket", async () => (await poolState()).tickets.open === 1);
      const at = Date.now();
      c.leave(how);
      await until("gave up", () => relayOutcomes().length > n);
      const line = up
        .logs()
        ["relay-local.log"]!.split("\n")
        .filter((l) => l.includes('"msg":"request"'))
        .at(-1)!;
      (t[`connecting ${how}`] ??= []).push(
        new Date((JSON.parse(line) as { time: string }).time).getTime() - at,
      );
      await nothingCounted();
    }
  }
  for (const [k, v] of Object.entries(t)) {
    v.sort((a, b) => a - b);
    console.log(
      k,
      "median",
      v[v.length >> 1]!.toFixed(1),
      "max",
      v.at(-1)!.toFixed(1),
      "n",
      v.length,
    );
  }
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
