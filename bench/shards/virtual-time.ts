// A process's timers and clock on a time of their own: what takes no time happens at once, and a pause is over as
// soon as nothing else is left to do.
//
// For a process that does nothing else: it puts its own in the place of Date.now, setTimeout and clearTimeout.

import { EventQueue } from "../simulation/event-queue.ts";

/** Unix ms at which the time begins, that of no leap and of no other meaning. */
const BEGAN_MS = 1_760_000_000_000;

interface Timer {
  isCleared: boolean;
}

/** Runs `main` on that time, to its end. Nothing in it may wait for anything but timers. */
export async function onVirtualTime<Result>(main: () => Promise<Result>): Promise<Result> {
  const { now } = Date;
  const { setTimeout: setRealTimeout, clearTimeout: clearRealTimeout } = globalThis;
  const queue = new EventQueue();
  const set = (callback: () => void, ms = 0): Timer => {
    const timer = { isCleared: false };
    const atMs = queue.nowMs + Math.max(0, ms);
    queue.add(atMs, () => {
      if (!timer.isCleared) callback();
    });
    return timer;
  };
  const clear = (timer: Timer | null | undefined): void => {
    if (timer) timer.isCleared = true;
  };
  Date.now = () => BEGAN_MS + Math.floor(queue.nowMs);
  Object.assign(globalThis, { setTimeout: set, clearTimeout: clear });
  try {
    let isOver = false;
    const result = main().finally(() => (isOver = true));
    await allThatFollows();
    while (!isOver && queue.runNext()) await allThatFollows();
    return await result;
  } finally {
    Date.now = now;
    Object.assign(globalThis, { setTimeout: setRealTimeout, clearTimeout: clearRealTimeout });
  }
}

/** Of what has happened, without any time passing: the queue of promises runs dry before it. */
function allThatFollows(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
