// Tenants beside each other: each sends at its own rate, over documents of its own.
//
//   a request = one of the tenant's documents + a question nobody has asked before
//
// Ours: the shapes that fairness is argued about, not those of a trace.

import { createRng, type Rng } from "../../../src/scheduler/support/rng.ts";
import { BlockNames, BlockStream } from "../block-stream.ts";
import { drawExponential } from "../distributions.ts";
import type { Phase, Session, WorkloadRequest } from "../workload.ts";

export interface TenantLoad {
  readonly tenant: string;
  readonly priority?: number;
  /** Requests a second, by a Poisson process. */
  readonly rate: number;
  /** When it sends, since the beginning. */
  readonly fromMs: number;
  readonly untilMs: number;
  readonly documents: number;
  readonly documentTokens: number;
  readonly questionTokens: number;
  readonly outputTokens: number;
  /** Requests about one document in a row; 1 where it is left out. */
  readonly questionsInARow?: number;
}

/** Everything they send, all of it measured. */
export function tenantsPhase(loads: readonly TenantLoad[], seed: number): Phase {
  const names = new BlockNames();
  // Each has numbers of its own: what others do changes nothing of what it sends.
  const sessions = loads.flatMap((load, i) => sessionsOf(load, names, createRng(seed * 1_000 + i)));
  return {
    sessions: sessions.toSorted((a, b) => a.startMs - b.startMs),
    measuredFromMs: 0,
    measuredUntilMs: Infinity,
  };
}

function sessionsOf(load: TenantLoad, names: BlockNames, rng: Rng): Session[] {
  const { tenant, priority = 0, rate, fromMs, untilMs, questionsInARow = 1 } = load;
  const documents = Array.from({ length: load.documents }, () =>
    new BlockStream(names).append(load.documentTokens),
  );
  const sessions: Session[] = [];
  let document = documents[0]!;
  const gap = (): number => (drawExponential(rng) * 1_000) / rate;
  for (let startMs = fromMs + gap(); startMs < untilMs; startMs += gap()) {
    if (sessions.length % questionsInARow === 0)
      document = documents[Math.floor(rng() * documents.length)]!;
    const turns = [{ request: requestOf(document, load), delayMs: 0 }];
    sessions.push({ startMs, tenant, priority, turns });
  }
  return sessions;
}

function requestOf(document: BlockStream, load: TenantLoad): WorkloadRequest {
  const { questionTokens, outputTokens } = load;
  const prompt = document.fork().append(questionTokens);
  return {
    promptTokens: prompt.tokens,
    outputTokens,
    outputTokensMax: outputTokens,
    blocks: prompt.append(outputTokens).blocks(),
  };
}
