// An engine that dies under load: three simulated engines as processes of their own, many streams
// through one relay, one engine killed in the middle of everything.

import { afterEach, describe, expect, it, vi } from "vitest";
import {
  DESTINATION_SERVED_HEADER,
  FAIRLEAD_ATTEMPTS_HEADER,
  REQUEST_ID_HEADER,
} from "../../../src/agents/protocol/headers.ts";
import { startAgentProcess, type AgentProcess } from "../support/agent-process.ts";
import { runRelay, type RunningRelay } from "../support/running-relay.ts";
import { contentsOf, eventsOf } from "../../support/event-stream.ts";

const STREAMS = 200;
const MODEL = "m";
/** So few run at once, and for so long, that at the kill some run and some wait on a busy machine too. */
const ENGINE_FLAGS = {
  model: MODEL,
  mode: "echo",
  "max-num-seqs": 12,
  "time-to-first-token": "50ms",
  "inter-token-latency": "20ms",
  "time-scale": 1,
};
const WORDS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen";

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

interface Engine {
  readonly address: string;
  readonly process: AgentProcess;
}

async function startEngine(): Promise<Engine> {
  const flags = Object.entries(ENGINE_FLAGS).flatMap(([name, value]) => [
    `--${name}`,
    String(value),
  ]);
  const process = await startAgentProcess([
    "simulator",
    "--exit-with-parent",
    "--port",
    "0",
    ...flags,
  ]);
  stack.defer(() => void process.child.kill("SIGKILL"));
  const [port] = process.ready["ports"] as number[];
  return { address: `127.0.0.1:${port}`, process };
}

/** One stream as its client saw it. */
interface Stream {
  readonly requestId: string;
  readonly first: string;
  text: string;
  headers: Headers | undefined;
  /** Whether a byte of the answer was there when the engine was killed. */
  hadByteAtKill: boolean;
  isEnded: boolean;
}

function open(relay: RunningRelay, list: readonly string[], index: number) {
  const requestId = `stream-${index}`;
  const stream: Stream = {
    requestId,
    first: list[0]!,
    text: "",
    headers: undefined,
    hadByteAtKill: false,
    isEnded: false,
  };
  const messages = [{ role: "user", content: `${index} ${WORDS}` }];
  const body = JSON.stringify({ model: MODEL, stream: true, messages });
  const read = async () => {
    const response = await relay.open(list, body, { [REQUEST_ID_HEADER]: requestId });
    expect(response.status).toBe(200);
    stream.headers = response.headers;
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      stream.text += chunk;
    }
    stream.isEnded = true;
  };
  return { stream, ended: read() };
}

async function simState(engine: Engine): Promise<{ running: number; waiting: number }> {
  const response = await fetch(`http://${engine.address}/sim/state`);
  return (await response.json()) as { running: number; waiting: number };
}

const WAIT = { timeout: 20_000, interval: 20 };

describe("an engine killed under 200 streams", { timeout: 60_000 }, () => {
  it("costs only the streams that had begun, and each of those is told", async () => {
    const engines = await Promise.all([startEngine(), startEngine(), startEngine()]);
    const addresses = engines.map(({ address }) => address);
    const relay = stack.use(await runRelay(addresses));
    const opened = Array.from({ length: STREAMS }, (_, i) =>
      open(relay, [...addresses.slice(i % 3), ...addresses.slice(0, i % 3)], i),
    );
    const [victim] = engines as [Engine, ...Engine[]];
    await vi.waitFor(async () => {
      const state = await simState(victim);
      expect(state.waiting).toBeGreaterThan(0);
      const running = opened.filter(
        ({ stream }) => stream.first === victim.address && stream.text !== "" && !stream.isEnded,
      );
      expect(running.length).toBeGreaterThan(3);
    }, WAIT);
    for (const { stream } of opened) stream.hadByteAtKill = stream.text.length > 0;
    victim.process.child.kill("SIGKILL");
    await Promise.all(opened.map(({ ended }) => ended));

    const streams = opened.map(({ stream }) => stream);
    const cut = streams.filter((stream) => stream.text.includes('"error"'));
    const whole = streams.filter((stream) => !cut.includes(stream));
    for (const [index, stream] of streams.entries()) {
      if (!whole.includes(stream)) continue;
      expect(contentsOf(stream).join("")).toBe(`${index} ${WORDS}`);
      expect(stream.text.endsWith("data: [DONE]\n\n")).toBe(true);
    }
    for (const stream of cut) {
      expect(stream.first).toBe(victim.address);
      expect(contentsOf(stream).join("")).not.toBe("");
      expect(eventsOf(stream).at(-1)!.error).toMatchObject({
        code: "engine_lost",
        request_id: stream.requestId,
      });
      expect(stream.text).not.toContain("[DONE]");
    }
    const victims = streams.filter((stream) => stream.first === victim.address);
    const moved = victims.filter(
      (stream) => stream.headers!.get(DESTINATION_SERVED_HEADER) !== victim.address,
    );
    expect(cut.length).toBeGreaterThan(0);
    expect(moved.length).toBeGreaterThan(0);
    // Those that came after the kill found the engine marked and went elsewhere at once.
    const attempts = moved.map((stream) => Number(stream.headers!.get(FAIRLEAD_ATTEMPTS_HEADER)));
    expect(Math.max(...attempts)).toBe(2);
    for (const stream of moved) expect(stream.hadByteAtKill).toBe(false);

    const marks = relay.object.frames.flatMap((f) => (f.kind === "marks" ? f.marks : []));
    expect(new Set(marks.map(({ endpoint }) => endpoint))).toEqual(new Set([victim.address]));
    expect(relay.metric("fairlead_relay_retries_denied_total")).toBe(0);
    await vi.waitFor(() => {
      expect(relay.metric("fairlead_relay_open_streams")).toBe(0);
      const closed = relay.object.tickets.filter((report) => report.kind === "closed");
      expect(new Set(closed.map(({ ticket }) => ticket)).size).toBe(STREAMS);
      expect(closed.filter(({ outcome }) => outcome === "ok")).toHaveLength(whole.length);
    }, WAIT);
    for (const engine of engines.slice(1)) {
      expect(await simState(engine)).toMatchObject({ running: 0, waiting: 0 });
    }
  });
});
