// Numbers that counters may take: one that is none would make every later comparison false, for ever.

import { QUEUED_KEYS_MAX, type QueuedRequest, type TokenUsage } from "./contracts.ts";

export function isSound(request: QueuedRequest): boolean {
  const { bytes, promptTokens, uncachedTokens, outputTokens, ttlMs = 0 } = request;
  return (
    request.keys.length <= 2 * QUEUED_KEYS_MAX &&
    Number.isFinite(request.priority) &&
    Number.isFinite(request.receivedAtMs) &&
    request.weight > 0 &&
    isCount(request.weight) &&
    isCount(bytes) &&
    isCount(ttlMs) &&
    areCounts({ promptTokens, uncachedTokens, outputTokens })
  );
}

export function isSoundUsage(usage: TokenUsage): boolean {
  return areCounts(usage);
}

function areCounts({ promptTokens, uncachedTokens, outputTokens }: TokenUsage): boolean {
  return isCount(promptTokens) && isCount(uncachedTokens) && isCount(outputTokens);
}

function isCount(value: number): boolean {
  return Number.isFinite(value) && value >= 0;
}
