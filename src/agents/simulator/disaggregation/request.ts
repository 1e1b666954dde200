// What a request says of a hand-off, in the words of each engine:
//
//   vLLM nixl        kv_transfer_params {do_remote_decode | do_remote_prefill, remote_…}
//   vLLM mooncake    kv_transfer_params {…, transfer_id, remote_bootstrap_addr}
//   vLLM offloading  kv_transfer_params {remote_decoder | remote_prefiller: {kv_request_id, …}}
//   SGLang           bootstrap_host, bootstrap_port, bootstrap_room
//
// Source: vLLM vllm/distributed/kv_transfer/kv_connector/v1, SGLang python/sglang/srt/disaggregation.
// vLLM's engine knows one connector; this one takes whichever words the request has.

import { z } from "zod";
import { badRequest, type EngineError } from "../errors.ts";
import type { PromptPlace } from "./peer-client.ts";

const NAME_CHARS_MAX = 512;
const HOST_CHARS_MAX = 255;
const BLOCKS_MAX = 4_194_304;

const name = z.string().min(1).max(NAME_CHARS_MAX);
const host = z.string().min(1).max(HOST_CHARS_MAX);
const port = z.int().min(1).max(65_535);
const blockId = z.int().min(0);
/** A list for each KV group; flat in older versions. */
const blockIds = z.union([
  z.array(blockId).max(BLOCKS_MAX),
  z.array(z.array(blockId).max(BLOCKS_MAX)).max(64),
]);

const pullSchema = z.object({
  remote_engine_id: name,
  remote_request_id: name,
  remote_host: host,
  remote_port: port,
  remote_block_ids: blockIds,
});
const mooncakeSchema = z.object({ transfer_id: name, remote_bootstrap_addr: host.optional() });
const keySchema = z.object({ kv_request_id: name });
const placeSchema = keySchema.extend({ remote_host: host, remote_port: port });
const roomSchema = z.object({
  bootstrap_host: host,
  bootstrap_port: port.nullish(),
  bootstrap_room: z.number().int().min(0),
});

const fieldsSchema = z.object({
  kv_transfer_params: z.record(z.string(), z.unknown()).nullish(),
  bootstrap_room: z.unknown().optional(),
});

/** SGLang's own. */
const BOOTSTRAP_PORT_DEFAULT = 8_998;

/** What an engine is for. */
export type Role = "both" | "prefill" | "decode" | "encode";
export type DisaggregationMode = "null" | "prefill" | "decode";

/** A leg that computes a prompt for somebody else. */
export interface OfferFields {
  readonly kind: "offer";
  /** Undefined: the engine makes one up, and the answer tells it. */
  readonly name: string | undefined;
  /** Whether the decoder must have come before anything is computed, as in SGLang. */
  readonly mustMeet: boolean;
}

/** A leg whose prompt was computed elsewhere. */
export interface ClaimFields extends PromptPlace {
  readonly kind: "claim";
  /** Undefined where the prefiller did not tell. */
  readonly blockIds: readonly number[] | undefined;
  /** Whether the prefiller may still be at work, or not even have begun. */
  readonly mayWait: boolean;
  /** Whether a prompt that cannot be read fails the request whatever the policy is. */
  readonly isStrict: boolean;
}

/** `isIncomplete`: a decoder was told to read, and not what; it computes the prompt itself. */
export type HandOffFields =
  | OfferFields
  | ClaimFields
  | { readonly kind: "none"; readonly isIncomplete: boolean };

const NONE = { kind: "none", isIncomplete: false } as const;
const INCOMPLETE = { kind: "none", isIncomplete: true } as const;

/** Reads a request's body. An error is what SGLang refuses a request with. */
export function parseHandOff(
  body: unknown,
  engine: { readonly role: Role; readonly mode: DisaggregationMode },
): HandOffFields | EngineError {
  const parsed = fieldsSchema.safeParse(body);
  if (!parsed.success) return badRequest("kv_transfer_params must be an object.");
  if (engine.mode !== "null") return parseRoom(body, engine.mode);
  const params = parsed.data.kv_transfer_params;
  return params == null ? NONE : parseParams(params, engine.role);
}

function parseRoom(
  body: unknown,
  mode: Exclude<DisaggregationMode, "null">,
): HandOffFields | EngineError {
  const parsed = roomSchema.safeParse(body);
  if (!parsed.success) {
    // SGLang's engines of one stage serve nothing alone.
    return badRequest(
      "Invalid request: Disaggregated request received without bootstrap room id.",
      "bootstrap_room",
    );
  }
  const { bootstrap_host: at, bootstrap_room: room } = parsed.data;
  const name = `room/${room}`;
  if (mode === "prefill") return { kind: "offer", name, mustMeet: true };
  const peer = `${at}:${parsed.data.bootstrap_port ?? BOOTSTRAP_PORT_DEFAULT}`;
  return { kind: "claim", name, peer, blockIds: undefined, mayWait: true, isStrict: true };
}

function parseParams(params: Readonly<Record<string, unknown>>, role: Role): HandOffFields {
  // A consumer computes for nobody, and a producer reads from nobody.
  const offer = role === "decode" ? undefined : parseOffer(params);
  if (offer !== undefined) return offer;
  if (role === "prefill") return NONE;
  const isRemote = params["do_remote_prefill"] === true || "remote_prefiller" in params;
  return isRemote ? (parseClaim(params) ?? INCOMPLETE) : NONE;
}

function parseOffer(params: Readonly<Record<string, unknown>>): OfferFields | undefined {
  const keyed = keySchema.safeParse(params["remote_decoder"]);
  if (keyed.success) {
    return { kind: "offer", name: `p2p/${keyed.data.kv_request_id}`, mustMeet: false };
  }
  if (params["do_remote_decode"] !== true) return undefined;
  const mooncake = mooncakeSchema.safeParse(params);
  const name = mooncake.success ? `transfer/${mooncake.data.transfer_id}` : undefined;
  return { kind: "offer", name, mustMeet: false };
}

function parseClaim(params: Readonly<Record<string, unknown>>): ClaimFields | undefined {
  const waiting = { kind: "claim", blockIds: undefined, mayWait: true, isStrict: false } as const;
  const keyed = placeSchema.safeParse(params["remote_prefiller"]);
  if (keyed.success) {
    const { kv_request_id: key, remote_host: at, remote_port: on } = keyed.data;
    return { ...waiting, name: `p2p/${key}`, peer: `${at}:${on}` };
  }
  const mooncake = mooncakeSchema.safeParse(params);
  if (mooncake.success && mooncake.data.remote_bootstrap_addr !== undefined) {
    const { transfer_id: id, remote_bootstrap_addr: address } = mooncake.data;
    return { ...waiting, name: `transfer/${id}`, peer: address.replace(/^https?:\/\//, "") };
  }
  const pull = pullSchema.safeParse(params);
  if (!pull.success) return undefined;
  const { remote_engine_id: engine, remote_request_id: request } = pull.data;
  return {
    kind: "claim",
    name: pullName(engine, request),
    peer: `${pull.data.remote_host}:${pull.data.remote_port}`,
    blockIds: pull.data.remote_block_ids.flat(),
    mayWait: false,
    isStrict: false,
  };
}

/** The name of a prompt that vLLM's answer tells of. */
export function pullName(engineId: string, requestId: string): string {
  return `nixl/${engineId}/${requestId}`;
}
