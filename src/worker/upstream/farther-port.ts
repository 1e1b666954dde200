// The way to a pool's object made longer: half of the time before each call, half after it. See
// config/object-rtt.ts.
//
// What nobody waits for, as giving a grant back, takes no longer.

import type { EdgePort, HeldWait, PoolPort } from "../../durable/contract.ts";

export function fartherPort(port: PoolPort & EdgePort, rttMs: number): PoolPort & EdgePort {
  const far = <Answer>(call: () => Promise<Answer>) => callFar(call, rttMs / 2);
  return {
    pick: async (request) => {
      const answer = await far(() => port.pick(request));
      if (answer.ok !== "queued" || !("handle" in answer)) return answer;
      return fartherWait(answer, rttMs);
    },
    leave: (requestId, attempt) => far(() => port.leave(requestId, attempt)),
    sync: (sync) => far(() => port.sync(sync)),
  };
}

function fartherWait(held: HeldWait, rttMs: number): HeldWait {
  const { asksForCapacity } = held;
  return {
    ok: "queued",
    ...(asksForCapacity === true ? { asksForCapacity } : {}),
    handle: { wait: () => callFar(() => held.handle.wait(), rttMs / 2) },
    [Symbol.dispose]: () => held[Symbol.dispose](),
  };
}

async function callFar<Answer>(call: () => Promise<Answer>, eachWayMs: number): Promise<Answer> {
  await scheduler.wait(eachWayMs);
  try {
    return await call();
  } finally {
    // A failure is heard of as late as an answer.
    await scheduler.wait(eachWayMs);
  }
}
