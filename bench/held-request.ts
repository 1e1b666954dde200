// What a request costs in memory while its engine has not begun to answer: resident memory of
// workerd, Fairlead beside a bare Worker holding as many.
//
//   bytes = (resident while held - resident before) / held
//
// Before each of the two readings the same number of requests passes through, so that both times the
// heap has grown to its high-water mark. Without it the figure would depend on when the collector
// last ran: a heap of 100 MB takes up tens of megabytes of garbage before it is collected. Each round
// has fresh processes, because a process keeps the memory it once had.

import { setTimeout as sleep } from "node:timers/promises";
import { createChatBody } from "./conversation.ts";
import type { BenchEngine } from "./engine.ts";
import { LoadClient } from "./load-client.ts";
import { type Measurement, median, quartileRange } from "./measure.ts";
import { residentBytes } from "./proc.ts";
import { type Stack, startStack, type Subject } from "./subjects.ts";

export const HELD_NAME = "held-request";
const AGAINST = "bare Worker";
const BODIES = 64;
const BODY_BYTES = 4_000;
const PASSING_CONNECTIONS = 16;
/** Until all are held. */
const HOLD_MS_MAX = 30_000;
/** For the rest of what requests set off. */
const SETTLE_MS = 500;

export interface HeldBudget {
  /** At once; below the relay's connections to one engine. */
  readonly held: number;
  /** Before each reading. */
  readonly passing: number;
  readonly rounds: number;
}

const BUDGET: HeldBudget = { held: 1_000, passing: 2_000, rounds: 3 };

export async function* measureHeldRequest(budget = BUDGET): AsyncGenerator<Measurement> {
  const bodies = Array.from({ length: BODIES }, (_, seed) =>
    createChatBody({ bodyBytes: BODY_BYTES, isStream: false, seed }),
  );
  const fairlead: number[] = [];
  const bare: number[] = [];
  for (let i = 0; i < budget.rounds; i++) {
    const stack = await startStack(bodies);
    try {
      fairlead.push(await bytesPerHeld({ stack, subject: stack.fairlead, bodies, budget }));
      bare.push(await bytesPerHeld({ stack, subject: stack.bare, bodies, budget }));
    } finally {
      await stack.stop();
    }
  }
  const value = median(fairlead);
  yield {
    bench: HELD_NAME,
    metric: "bytes",
    value,
    unit: "B",
    ratio: value / median(bare),
    against: AGAINST,
  };
  yield {
    bench: HELD_NAME,
    metric: "bytes_spread",
    value: quartileRange(fairlead),
    unit: "B",
    ratio: null,
    against: null,
  };
}

async function bytesPerHeld(options: {
  readonly stack: Stack;
  readonly subject: Subject;
  readonly bodies: readonly string[];
  readonly budget: HeldBudget;
}): Promise<number> {
  const { stack, subject, budget } = options;
  const { engine } = stack;
  const connections = budget.held + PASSING_CONNECTIONS;
  const client = new LoadClient(subject, { ...options, connections, isStream: false });
  const readResident = async (): Promise<number> => {
    await client.send(client.prepare(budget.passing), PASSING_CONNECTIONS);
    await sleep(SETTLE_MS);
    return residentBytes(subject.pids);
  };
  let held = Promise.resolve();
  try {
    await client.untilAnswers();
    const before = await readResident();
    engine.hold(budget.held);
    held = client.send(client.prepare(budget.held), budget.held);
    await Promise.race([untilHeld(engine, budget.held), failure(held)]);
    return ((await readResident()) - before) / budget.held;
  } finally {
    engine.release();
    await held;
    await client.close();
  }
}

async function untilHeld(engine: BenchEngine, count: number): Promise<void> {
  const deadlineMs = performance.now() + HOLD_MS_MAX;
  while (engine.heldCount < count) {
    if (performance.now() > deadlineMs) {
      throw new Error(`${engine.heldCount} of ${count} requests reached the engine`);
    }
    await sleep(20);
  }
}

/** Rejects when one of the held requests is refused. They end only after the engine is released. */
async function failure(held: Promise<void>): Promise<never> {
  await held;
  throw new Error("requests were answered that should be held");
}
