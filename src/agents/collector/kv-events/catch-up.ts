// Bringing an account up to what its publisher keeps: replays until one comes to its end.

import { setTimeout as sleep } from "node:timers/promises";
import type { Context } from "zeromq";
import type { PublisherAccount } from "./publisher-account.ts";
import { requestReplay } from "./replay.ts";

/** As in llm-d, but for what it does after a failure. */
export interface CatchUpLimits {
  readonly totalMsMax: number;
  readonly idleMsMax: number;
  readonly retryMs: number;
  /** Attempts in a row that bring no batch. */
  readonly fruitlessMax: number;
}

export const CATCH_UP_LIMITS: CatchUpLimits = {
  totalMsMax: 120_000,
  idleMsMax: 2_000,
  retryMs: 100,
  fruitlessMax: 3,
};
/** Replays of one process at a time: each is a burst of what an engine keeps, 10,000 batches. */
export const REPLAYS_MAX = 8;
/** New processes of a publisher that are met in one catch-up: more is a publisher that crashes. */
const RESTARTS_MAX = 3;

/** Lets so many through at a time, in the order in which they came. */
export class Gate {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(size: number) {
    this.#free = size;
  }

  async enter(): Promise<void> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}

export interface CatchUpOptions {
  readonly context: Context;
  readonly url: string;
  readonly limits: CatchUpLimits;
  readonly gate: Gate;
  readonly signal: AbortSignal;
}

/**
 * True if `account` has everything that its publisher keeps. False if it could not be had; the caller
 * decides what becomes of the account.
 */
export async function catchUp(
  account: PublisherAccount,
  options: CatchUpOptions,
): Promise<boolean> {
  await options.gate.enter();
  try {
    return await replayUntilDone(account, options);
  } finally {
    options.gate.leave();
  }
}

async function replayUntilDone(
  account: PublisherAccount,
  options: CatchUpOptions,
): Promise<boolean> {
  const { limits } = options;
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(limits.totalMsMax)]);
  let fruitless = 0;
  let restarts = 0;
  while (fruitless < limits.fruitlessMax && restarts <= RESTARTS_MAX && !signal.aborted) {
    const appliedBefore = account.appliedCount;
    const outcome = await replayOnce(account, { ...options, signal });
    if (outcome === "done") return true;
    if (outcome === "failed") return false;
    if (outcome === "again") {
      restarts++;
      continue;
    }
    fruitless = account.appliedCount === appliedBefore ? fruitless + 1 : 0;
    await sleep(limits.retryMs, undefined, { signal }).catch(() => undefined);
  }
  return false;
}

async function replayOnce(
  account: PublisherAccount,
  options: CatchUpOptions,
): Promise<"done" | "again" | "failed" | "broken-off"> {
  account.beginReplay();
  const end = await requestReplay(
    {
      context: options.context,
      url: options.url,
      from: account.replayFrom,
      idleMsMax: options.limits.idleMsMax,
      signal: options.signal,
    },
    (batch) => account.takeReplayed(batch) === "taken",
  );
  if (end === "complete") return account.endReplay();
  if (end === "stopped") return "again";
  return end === "malformed" ? "failed" : "broken-off";
}
