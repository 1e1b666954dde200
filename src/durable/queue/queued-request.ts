// A pick as flow control sees it.

import type { QueuedRequest } from "../../scheduler/flow-control/contracts.ts";
import { thinKeys } from "../../scheduler/flow-control/queued-keys.ts";
import { reservedOutputTokens } from "../../scheduler/model/inference-request.ts";
import type { PickRequest } from "../contract.ts";

/** `cachedTokens`: of its prompt, what the best endpoint holds. */
export function queuedRequestOf(
  { request, attempt, flow }: PickRequest,
  cachedTokens: number,
  nowMs: number,
): QueuedRequest {
  const { promptTokens, ttftSloMs } = request;
  return {
    requestId: request.requestId,
    attempt,
    fairnessId: flow?.fairnessId ?? request.tenant,
    priority: request.priority,
    weight: flow?.weight ?? 1,
    bytes: request.bodyBytes,
    promptTokens,
    uncachedTokens: Math.max(0, promptTokens - cachedTokens),
    outputTokens: reservedOutputTokens(request.outputTokensMax),
    receivedAtMs: flow?.receivedAtMs ?? nowMs,
    ...(flow?.ttlMs === undefined ? {} : { ttlMs: flow.ttlMs }),
    ...(ttftSloMs === undefined ? {} : { ttftSloMs }),
    ...thinKeys(request.keys),
  };
}
