// Where relays tell what prompts' content became: learned-message.ts. Who has the pool's agent token is
// believed. A wrong message costs choices, never answers: it makes endpoints seem to hold what they do not.

import { createHash, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { MetricRegistry } from "../../../telemetry/metrics.ts";
import { METRIC } from "../../../telemetry/names.ts";
import {
  CAUGHT_UP_HEADER,
  decodeLearned,
  type Heard,
  LEARNED_LIMITS,
  LEARNED_PATH,
  type LearnedContent,
} from "../../learning/learned-message.ts";
import { closeServer, listen, type ListenAddress } from "../../process/listen.ts";
import { ToldAgain } from "./told-again.ts";

/** Relays of one pool, with a connection each. */
const CONNECTIONS_MAX = 256;
const REQUEST_MS_MAX = 10_000;
/**
 * Content and token keys a second, and at once: what a second of one processor takes. A relay that tells
 * everything again sends half as much or less.
 */
export const KEYS_PER_SECOND_MAX = 1_000_000;

/** How a message was answered. A metric label. */
type HeardOutcome = "learned" | "malformed" | "too-large" | "unauthorized" | "busy" | "broken-off";

const STATUS: Readonly<Record<Exclude<HeardOutcome, "learned" | "broken-off">, number>> = {
  malformed: 400,
  unauthorized: 401,
  "too-large": 413,
  busy: 429,
};

export interface LearningServerOptions {
  readonly listen: ListenAddress;
  /** The pool's agent token. */
  readonly token: string;
  readonly account: {
    readonly epoch: string;
    readonly isReady: boolean;
    learn(content: LearnedContent): void;
  };
  readonly registry: MetricRegistry;
  /** Milliseconds of any origin. */
  readonly clock: () => number;
}

export interface LearningServer {
  readonly port: number;
  /** A relay still tells what it told an earlier life, or will. */
  readonly isBeingToldAgain: boolean;
  close(): Promise<void>;
}

/** Rejects if the address cannot be had. */
export async function startLearningServer(options: LearningServerOptions): Promise<LearningServer> {
  const expected = digest(`Bearer ${options.token}`);
  const budget = new KeyBudget(options.clock);
  const toldAgain = new ToldAgain(options.account.epoch, options.clock);
  const context = { ...options, expected, budget, toldAgain };
  const server = createServer({ requestTimeout: REQUEST_MS_MAX }, (request, response) => {
    answer(context, request, response).catch(() => response.destroy());
  });
  server.maxConnections = CONNECTIONS_MAX;
  const port = await listen(server, options.listen);
  return {
    port,
    get isBeingToldAgain() {
      return toldAgain.isUnderWay;
    },
    async close() {
      server.closeAllConnections();
      await closeServer(server);
    },
  };
}

type Context = LearningServerOptions & {
  readonly expected: Buffer;
  readonly budget: KeyBudget;
  readonly toldAgain: ToldAgain;
};

async function answer(
  context: Context,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { account, registry, toldAgain } = context;
  if (request.url !== LEARNED_PATH) return refuse(response, 404, `try ${LEARNED_PATH}`);
  const given = digest(request.headers.authorization ?? "");
  const isKnown = timingSafeEqual(given, context.expected);
  const caughtUp = caughtUpOf(request);
  // Whatever becomes of its message, a relay that is behind is to be waited for.
  if (isKnown) toldAgain.arrive(request.socket, caughtUp, account.epoch);
  const heard = () => {
    toldAgain.take(request.socket, caughtUp, account.epoch);
    tellHeard(response, account);
  };
  if (isKnown && request.method === "GET") return heard();
  if (isKnown && request.method !== "POST") return refuse(response, 405, "try GET or POST");
  const { outcome, detail } = isKnown
    ? await hear(context, request)
    : { outcome: "unauthorized" as const, detail: "expected the pool's agent token" };
  registry.inc(METRIC.collectorLearningTotal, { outcome });
  if (outcome === "learned") heard();
  else if (outcome === "broken-off") response.destroy();
  else refuse(response, STATUS[outcome], detail);
}

async function hear(
  { account, budget }: Context,
  request: IncomingMessage,
): Promise<{ outcome: HeardOutcome; detail: string }> {
  const body = await readBody(request);
  if (typeof body === "string") return { outcome: body, detail: "" };
  const decoded = decodeLearned(body);
  if (!decoded.ok) return { outcome: "malformed", detail: decoded.error };
  let keys = 0;
  for (const { contentKeys, tokenKeys } of decoded.value) {
    keys += (contentKeys.length + tokenKeys.length) / 2;
  }
  if (!budget.tryTake(keys)) return { outcome: "busy", detail: "try again soon" };
  for (const content of decoded.value) account.learn(content);
  return { outcome: "learned", detail: "" };
}

async function readBody(request: IncomingMessage): Promise<Buffer | "too-large" | "broken-off"> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      size += chunk.byteLength;
      if (size > LEARNED_LIMITS.bodyBytesMax) return "too-large";
      chunks.push(chunk);
    }
  } catch {
    return "broken-off";
  }
  return Buffer.concat(chunks, size);
}

function tellHeard(
  response: ServerResponse,
  { epoch, isReady }: LearningServerOptions["account"],
): void {
  const heard: Heard = { epoch, promptsMax: LEARNED_LIMITS.promptsMax, isReady };
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(heard));
}

function caughtUpOf({ headers }: IncomingMessage): string | undefined {
  const caughtUp = headers[CAUGHT_UP_HEADER];
  return typeof caughtUp === "string" ? caughtUp : undefined;
}

function refuse(response: ServerResponse, status: number, detail: string): void {
  // What is left of a body is not waited for. A relay whose message was read comes again on its connection.
  response.shouldKeepAlive = response.req.complete;
  response.writeHead(status, { "content-type": "text/plain" }).end(`${detail}\n`);
}

/** Digests are compared: neither the token nor its length shows in the time. */
function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/** A bucket that fills at KEYS_PER_SECOND_MAX. */
class KeyBudget {
  readonly #clock: () => number;
  #keys = KEYS_PER_SECOND_MAX;
  #atMs: number;

  constructor(clock: () => number) {
    this.#clock = clock;
    this.#atMs = clock();
  }

  tryTake(keys: number): boolean {
    const nowMs = this.#clock();
    const filled = ((nowMs - this.#atMs) * KEYS_PER_SECOND_MAX) / 1_000;
    this.#keys = Math.min(KEYS_PER_SECOND_MAX, this.#keys + filled);
    this.#atMs = nowMs;
    if (keys > this.#keys) return false;
    this.#keys -= keys;
    return true;
  }
}
