// The thread that learns: everything that takes time of the processor is here, off the thread that carries
// requests. What it is handed is bounded by prompt-learner.ts.

import { parentPort, workerData } from "node:worker_threads";
import { encodeLearned } from "../../learning/learned-message.ts";
import { keyHex } from "../../protocol/content-header.ts";
import { CollectorFeeds } from "./collector-feeds.ts";
import { EngineAsker } from "./engine-asker.ts";
import { learnPrompt, type LearnJob, type LearnSetup } from "./learn-prompt.ts";
import { LearnQueue } from "./learn-queue.ts";
import { LearnedStore } from "./learned-store.ts";
import type { LearnOutcome } from "./outcomes.ts";
import { PromptTokenizer } from "./prompt-tokenizer.ts";
import type { ThreadOptions, ThreadReport } from "./prompt-learner.ts";

const { collectors, token, tokensPerKey, promptsPerSecondMax, areMediaRendered } =
  workerData as ThreadOptions;

const report = (message: ThreadReport) => parentPort!.postMessage(message);
const clock = () => performance.now();
const engines = new EngineAsker(clock, (what) => report({ kind: "asked", what }));
const tokenizer = new PromptTokenizer(engines);
const setup: LearnSetup = { engines, tokenizer, tokensPerKey, areMediaRendered };
const store = new LearnedStore();
const feeds = new CollectorFeeds({
  urls: collectors,
  token,
  store,
  onTold: (outcome) => report({ kind: "told", outcome }),
});

const queue = new LearnQueue({ promptsPerSecondMax, clock, learn });

async function learn(job: LearnJob): Promise<void> {
  let outcome: LearnOutcome = "failed";
  let mediaBlocks = 0;
  try {
    const learned = await learnPrompt(job, setup);
    outcome = learned.outcome;
    if (learned.outcome === "learned") {
      mediaBlocks = learned.mediaBlocks;
      store.add(learned.content.contentKeys, encodeLearned(learned.content));
      feeds.wake();
    }
  } finally {
    const { endpoint, body, lastKey } = job;
    const facts = { endpoint, bytes: body.byteLength, lastKey: keyHex(lastKey) };
    report({ kind: "done", ...facts, outcome, mediaBlocks, storedBytes: store.byteLength });
  }
}

parentPort!.on("message", (job: LearnJob) => queue.add(job));
