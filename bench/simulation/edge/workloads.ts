// What clients send to the edge: one phase each, so that all ways get the same work.

import { createRng } from "../../../src/scheduler/support/rng.ts";
import { BlockNames, BlockStream } from "../block-stream.ts";
import type { Phase, Session, Slo } from "../workload.ts";
import {
  type ConversationShape,
  conversationWorkload,
  INTERACTIVE_CHAT,
} from "../workloads/conversations.ts";
import { TraceRequests } from "../workloads/mooncake-trace.ts";
import { conversationTrace } from "../workloads/packed-trace.ts";
import { spreadTimes } from "../workloads/spread-times.ts";

export interface EdgeWorkload {
  readonly name: string;
  /** In one sentence. */
  readonly about: string;
  readonly slo: Slo;
  /** Requests a second and endpoint at which a pool of the simulation's engines is full. */
  readonly saturationRate: number;
  /** Requests of a run. */
  readonly requests: number;
  create(options: LoadOptions): Phase;
}

export interface LoadOptions {
  /** Requests a second. */
  readonly rate: number;
  readonly requests: number;
  readonly seed: number;
}

const CHAT_SLO: Slo = { ttftMs: 1_000, tpotMs: 50 };
/** Prompts of the trace are long: 12,000 tokens in the mean. */
const TRACE_SLO: Slo = { ttftMs: 5_000, tpotMs: 100 };

/** As the simulation's chat, by people who answer quickly: a run need not be so long to have all turns. */
const CHAT: ConversationShape = {
  ...INTERACTIVE_CHAT,
  pauseS: { kind: "lognormal", min: 2, max: 60, mean: 12, stdDev: 10 },
  requests: 0,
  warmUpShare: 0.4,
};
const CHAT_RATE = 16.5 / 8;

function createChat(shape: Partial<ConversationShape>, options: LoadOptions): Phase {
  const { rate, requests, seed } = options;
  const named = { name: "", about: "", slo: CHAT_SLO, saturationRate: 0 };
  const workload = conversationWorkload(named, { ...CHAT, ...shape, requests });
  return workload.create(rate, seed)[0]!;
}

/** Seeds read different parts of the trace. */
const SEEDS_APART = 3_000;
const TRACE_WARM_UP_SHARE = 0.25;

function createTrace({ rate, requests, seed }: LoadOptions): Phase {
  const trace = conversationTrace();
  const from = (seed - 1) * SEEDS_APART;
  const lines = Array.from({ length: requests }, (_, i) => trace[(from + i) % trace.length]!);
  const durationMs = (requests / rate) * 1_000;
  const times = spreadTimes(lines, durationMs);
  const truths = new TraceRequests();
  const sessions = lines.map((line, i): Session => {
    return { startMs: times[i]!, turns: [{ request: truths.of(line), delayMs: 0 }] };
  });
  return {
    sessions,
    measuredFromMs: durationMs * TRACE_WARM_UP_SHARE,
    measuredUntilMs: durationMs,
  };
}

/** What everybody asks about at once. */
const CROWD = { share: 0.15, seconds: 10, documentTokens: 6_000, questionTokens: 60 } as const;

/** Half-way through what is measured of a chat, many people ask about one document. */
function createFlashCrowd(options: LoadOptions): Phase {
  const count = Math.round(options.requests * CROWD.share);
  const chat = createChat({}, { ...options, requests: options.requests - count });
  const rng = createRng(options.seed + 2);
  // Names of blocks that no conversation has.
  const names = new BlockNames();
  names.take(CROWD_NAMES_FROM);
  const document = new BlockStream(names).append(CROWD.documentTokens);
  const fromMs = (chat.measuredFromMs + chat.measuredUntilMs) / 2;
  const outputTokens = 150;
  const crowd = Array.from({ length: count }, (): Session => {
    const stream = document.fork().append(CROWD.questionTokens);
    const promptTokens = stream.tokens;
    const blocks = stream.append(outputTokens).blocks();
    const request = { promptTokens, outputTokens, outputTokensMax: null, blocks };
    return { startMs: fromMs + rng() * CROWD.seconds * 1_000, turns: [{ request, delayMs: 0 }] };
  });
  return { ...chat, sessions: [...chat.sessions, ...crowd] };
}
const CROWD_NAMES_FROM = 1 << 23;

export const EDGE_WORKLOADS: readonly EdgeWorkload[] = [
  {
    name: "trace",
    about: "Mooncake's conversation trace, stretched to the rate: prompts of 12,000 tokens",
    slo: TRACE_SLO,
    saturationRate: 6 / 8,
    requests: 6_000,
    create: createTrace,
  },
  {
    name: "chat",
    about: "Conversations of four turns in the mean, 12 s between them; all share 1,000 tokens",
    slo: CHAT_SLO,
    saturationRate: CHAT_RATE,
    requests: 9_000,
    create: (options) => createChat({}, options),
  },
  {
    name: "one block",
    about: "The same, but all requests share one content block of 64 tokens, and no more",
    slo: CHAT_SLO,
    saturationRate: CHAT_RATE,
    requests: 9_000,
    create: (options) => createChat({ sharedTokens: 64 }, options),
  },
  {
    name: "forty blocks",
    about: "The same, but all requests share a system prompt of 40 content blocks, 2,560 tokens",
    slo: CHAT_SLO,
    saturationRate: CHAT_RATE,
    requests: 9_000,
    create: (options) => createChat({ sharedTokens: 2_560 }, options),
  },
  {
    name: "flash crowd",
    about: "Chat, and within 10 s many ask about one document of 6,000 tokens that is nowhere yet",
    slo: CHAT_SLO,
    saturationRate: CHAT_RATE,
    requests: 9_000,
    create: createFlashCrowd,
  },
];
