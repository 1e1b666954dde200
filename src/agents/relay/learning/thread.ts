// The thread that learns: everything that takes time of the processor is here, off the thread that carries
// requests. What it is handed is bounded by prompt-learner.ts.

import { parentPort, workerData } from "node:worker_threads";
import { encodeLearned } from "../../learning/learned-message.ts";
import { keyHex } from "../../protocol/content-header.ts";
import { CollectorFeeds } from "./collector-feeds.ts";
import { type AskedFor, EngineAsker } from "./engine-asker.ts";
import { KNOWN_MS, KnownKeys } from "./known-keys.ts";
import {
  lastOf,
  learnConversation,
  type Learned,
  learnPrompt,
  type LearnSetup,
} from "./learn-prompt.ts";
import { LearnQueue } from "./learn-queue.ts";
import { LearnedStore } from "./learned-store.ts";
import type { AnswerOutcome, LearnOutcome } from "./outcomes.ts";
import { PromptTokenizer } from "./prompt-tokenizer.ts";
import type { LearnJob, ThreadOptions, ThreadReport } from "./thread-messages.ts";

const options = workerData as ThreadOptions;
const { collectors, token, tokensPerKey, areMediaRendered } = options;

const report = (message: ThreadReport) => parentPort!.postMessage(message);
const clock = () => performance.now();
const onSlow = (origin: string) => {
  report({ kind: "slow", origin });
  for (const job of queue.take(origin)) report({ ...doneWith(job, {}), mediaBlocks: 0 });
};
const onAsk = (what: AskedFor) => report({ kind: "asked", what });
const engines = new EngineAsker(clock, onAsk, { ...options, onSlow });
const tokenizer = new PromptTokenizer(engines);
const setup: LearnSetup = { engines, tokenizer, tokensPerKey, areMediaRendered };
const store = new LearnedStore();
const feeds = new CollectorFeeds({
  urls: collectors,
  token,
  store,
  onTold: (outcome, count) => report({ kind: "told", outcome, count }),
});

const queue = new LearnQueue({ ...options, clock, learn });
/** Conversations that were learned not long ago, or are being learned. */
const known = new KnownKeys();

async function learn(job: LearnJob): Promise<void> {
  const { answer, isPromptNew } = job;
  let answered: AnswerOutcome | undefined;
  let prompt: LearnOutcome | undefined;
  let learnedKey: string | undefined;
  let mediaBlocks = 0;
  const keep = (learned: Learned<AnswerOutcome> | Learned) => {
    if (learned.outcome !== "learned") return;
    mediaBlocks += learned.mediaBlocks;
    learnedKey = keyHex(lastOf(learned.content.contentKeys));
    store.add(learned.content.contentKeys, encodeLearned(learned.content));
    feeds.wake();
  };
  try {
    if (answer !== undefined) {
      const learned = await learnAnswered({ ...job, answer });
      keep(learned);
      answered = learned.outcome;
    }
    if (isPromptNew) {
      // The conversation begins with it.
      if (answered === "learned" || answered === "known") prompt = "learned";
      else {
        const learned = await learnPrompt(job, setup);
        keep(learned);
        prompt = learned.outcome;
      }
    }
  } finally {
    report({
      ...doneWith(job, { prompt, answered }),
      ...(answered === "learned" && learnedKey !== undefined ? { learnedKey } : {}),
      mediaBlocks,
    });
  }
}

function doneWith(
  { endpoint, body, answer, lastKey, isPromptNew }: LearnJob,
  { prompt, answered }: { prompt?: LearnOutcome | undefined; answered?: AnswerOutcome | undefined },
) {
  return {
    kind: "done",
    endpoint,
    bytes: body.byteLength + (answer?.byteLength ?? 0),
    lastKey: keyHex(lastKey),
    ...(isPromptNew ? { prompt: prompt ?? "failed" } : {}),
    ...(answer === undefined ? {} : { answer: answered ?? "failed" }),
    storedBytes: store.byteLength,
  } as const;
}

async function learnAnswered(job: LearnJob & { readonly answer: Uint8Array }) {
  let taken: string | undefined;
  const learned = await learnConversation(job, setup, (lastKey) => {
    if (known.has(lastKey, clock())) return false;
    known.remember(lastKey, Infinity);
    taken = lastKey;
    return true;
  });
  if (taken === undefined) return learned;
  if (learned.outcome === "learned") known.remember(taken, clock() + KNOWN_MS);
  else known.forget(taken);
  return learned;
}

parentPort!.on("message", (job: LearnJob) => queue.add(job));
