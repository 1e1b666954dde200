// Asking a publisher for what it keeps: DEALER to its ROUTER, one request, many answers, an end mark.

import { Dealer, type Context } from "zeromq";
import { BATCH_BYTES_MAX } from "./decode-batch.ts";
import { encodeReplayRequest, parseReplayFrames, type BatchFrames } from "./frames.ts";

/** Answers held by the socket. The engine waits, and publishes no replay to others meanwhile. */
const ANSWERS_MAX = 1_000;

export interface ReplayRequest {
  readonly context: Context;
  readonly url: string;
  /** The first number asked for. Older engines have dropped it without a word. */
  readonly from: number;
  /** Longest pause between answers. */
  readonly idleMsMax: number;
  /** Ends the replay at once. */
  readonly signal: AbortSignal;
}

/** How a replay ended. "broken-off" is every way but the publisher's own end mark. */
export type ReplayEnd = "complete" | "stopped" | "broken-off" | "malformed";

/**
 * Hands over each answer, until the end or until `onBatch` returns false ("stopped").
 */
export async function requestReplay(
  request: ReplayRequest,
  onBatch: (batch: BatchFrames) => boolean,
): Promise<ReplayEnd> {
  if (request.signal.aborted) return "broken-off";
  const socket = new Dealer({
    context: request.context,
    linger: 0,
    ipv6: request.url.includes("["),
    maxMessageSize: BATCH_BYTES_MAX,
    receiveHighWaterMark: ANSWERS_MAX,
    receiveTimeout: request.idleMsMax,
    sendTimeout: request.idleMsMax,
  });
  const close = () => socket.close();
  request.signal.addEventListener("abort", close, { once: true });
  try {
    socket.connect(request.url);
    if (!(await isSent(socket, request.from))) return "broken-off";
    for (;;) {
      const frames = await receive(socket);
      if (frames === undefined) return "broken-off";
      const answer = parseReplayFrames(frames);
      if (answer === undefined) return "malformed";
      if (answer.type === "end") return "complete";
      if (!onBatch(answer)) return "stopped";
    }
  } finally {
    request.signal.removeEventListener("abort", close);
    socket.close();
  }
}

/** False if nobody takes it in time, or the signal has closed the socket. */
async function isSent(socket: Dealer, from: number): Promise<boolean> {
  try {
    await socket.send(encodeReplayRequest(from));
    return true;
  } catch {
    return false;
  }
}

/** Undefined if nothing comes in time, or the signal has closed the socket. */
async function receive(socket: Dealer): Promise<Uint8Array[] | undefined> {
  try {
    return await socket.receive();
  } catch {
    return undefined;
  }
}
