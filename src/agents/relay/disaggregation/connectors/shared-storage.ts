// shared-storage: engines that keep blocks in one storage. The prefiller fills it, the decoder reads it.
//
//   probe     the request as it came: where its cache_hit_threshold is not met, the decoder ends at once
//             with finish_reason "cache_threshold"; otherwise its answer is the client's
//   prefill   one token, cache_hit_threshold: 0
//   decode    the request as it came, cache_hit_threshold: 0
//
// Without a threshold above 0, nobody is probed. Edges refuse clients that bring one; options may set it.
//
// Source: llm-d-router pkg/sidecar/proxy/connector_shared_storage.go. It leaves `stream` of the prefill as
// the client set it, and looks only at the first choice.

import type { Connector, Probe } from "../connector.ts";
import { editMembers, isObject, parseJson, readMember } from "./json-edits.ts";
import type { ConnectorOptions } from "./peers.ts";
import { shortPrefillEdits } from "./prefill-limits.ts";

const UNMET = "cache_threshold";
/** An engine that begins says so with its second event at the latest. */
const EVENTS_JUDGED = 2;

export function createSharedStorage(options: ConnectorOptions): Connector {
  return {
    name: "shared-storage",
    order: "sequential",
    handOff(request, _pairing) {
      const met = { cache_hit_threshold: "0" };
      const limits = shortPrefillEdits(request);
      const both = "max_tokens" in limits ? { max_completion_tokens: "1" } : {};
      const prefill = editMembers(request.body, { ...limits, ...both, ...met });
      const decode = editMembers(request.body, met);
      if (prefill === undefined || decode === undefined) return undefined;
      const probe = probeOf(request.body, options);
      return {
        ...(probe === undefined ? {} : { probe }),
        prefill: { body: prefill, headers: {} },
        decode: () => ({ body: decode, headers: {}, isHandedOver: true }),
      };
    },
  };
}

function probeOf(body: Uint8Array, { cacheHitThreshold }: ConnectorOptions): Probe | undefined {
  const own = readMember(body, "cache_hit_threshold");
  // One of 0 asks nothing: it stands where items were encoded, and lets a decoder begin in any case.
  if (own !== undefined && isAboveZero(parseJson(own))) {
    return { leg: { body, headers: {} }, judge };
  }
  if (cacheHitThreshold === undefined) return undefined;
  const asked = editMembers(body, { cache_hit_threshold: String(cacheHitThreshold) });
  return asked === undefined ? undefined : { leg: { body: asked, headers: {} }, judge };
}

function isAboveZero(threshold: unknown): boolean {
  return typeof threshold === "number" && threshold > 0;
}

function judge(
  begun: Uint8Array,
  is: { stream: boolean; whole: boolean },
): "answer" | "prefill" | undefined {
  if (!is.stream) {
    if (!is.whole) return undefined;
    return isUnmet(parseJson(begun)) ? "prefill" : "answer";
  }
  const events = eventsOf(begun);
  if (events.slice(0, EVENTS_JUDGED).some(isUnmet)) return "prefill";
  return events.length >= EVENTS_JUDGED || is.whole ? "answer" : undefined;
}

/** Payloads of the events that have come whole; undefined for one that is no JSON, such as [DONE]. */
function eventsOf(bytes: Uint8Array): unknown[] {
  const text = Buffer.from(bytes).toString("utf8").replaceAll("\r\n", "\n");
  const whole = text.slice(0, text.lastIndexOf("\n\n") + 1);
  return whole
    .split("\n")
    .filter((line) => line.startsWith("data:"))
    .map((line) => parseJson(Buffer.from(line.slice("data:".length))));
}

function isUnmet(answer: unknown): boolean {
  const choices = isObject(answer) ? answer["choices"] : undefined;
  return (
    Array.isArray(choices) &&
    choices.some((choice) => isObject(choice) && choice["finish_reason"] === UNMET)
  );
}
