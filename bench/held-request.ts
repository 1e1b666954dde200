// What a request costs in memory while its engine has not begun to answer: resident memory of
// workerd, Fairlead beside a bare Worker holding as many.
//
//   bytes = (memory with HELD.more held - memory with HELD.few held) / (HELD.more - HELD.few)
//
// The difference of two, so that what the first held requests grow (tables, heap) is not counted as
// theirs. Each round has fresh processes, because a process keeps the memory it once had. Garbage is
// part of the figure: a collector that has no reason to run lets it lie.

import { setTimeout as sleep } from "node:timers/promises";
import { createChatBody } from "./conversation.ts";
import { LoadClient } from "./load-client.ts";
import { type Measurement, median, quartileRange } from "./measure.ts";
import { residentBytes } from "./proc.ts";
import { type Stack, startStack, type Subject } from "./subjects.ts";

export const HELD_NAME = "held-request";
const AGAINST = "bare Worker";
const BODIES = 64;
const BODY_BYTES = 4_000;
const WARM_UP_CONNECTIONS = 16;
/** Until all are held. */
const HOLD_MS_MAX = 30_000;
/** For the rest of what arriving requests set off. */
const SETTLE_MS = 500;

export interface HeldBudget {
  readonly warmUpRequests: number;
  readonly held: { readonly few: number; readonly more: number };
  readonly rounds: number;
}

const BUDGET: HeldBudget = {
  warmUpRequests: 1_000,
  held: { few: 200, more: 1_000 },
  rounds: 3,
};

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
  const { few, more } = budget.held;
  const client = new LoadClient(subject, { ...options, connections: more, isStream: false });
  const sent: Promise<void>[] = [];
  const residentWith = async (count: number): Promise<number> => {
    const added = client.prepare(count - engine.heldCount);
    sent.push(client.send(added, added.length));
    await Promise.race([untilHeld(stack, count), failure(sent)]);
    await sleep(SETTLE_MS);
    return residentBytes(subject.pids);
  };
  try {
    await client.untilAnswers();
    await client.send(client.prepare(budget.warmUpRequests), WARM_UP_CONNECTIONS);
    engine.hold();
    const before = await residentWith(few);
    const after = await residentWith(more);
    return (after - before) / (more - few);
  } finally {
    engine.release();
    await Promise.all(sent);
    await client.close();
  }
}

async function untilHeld({ engine }: Stack, count: number): Promise<void> {
  const deadlineMs = performance.now() + HOLD_MS_MAX;
  while (engine.heldCount < count) {
    if (performance.now() > deadlineMs) {
      throw new Error(`${engine.heldCount} of ${count} requests reached the engine`);
    }
    await sleep(20);
  }
}

/** Rejects when one of `sent` does. They end only after the engine is released. */
async function failure(sent: readonly Promise<void>[]): Promise<never> {
  await Promise.all(sent);
  throw new Error("requests were answered that should be held");
}
