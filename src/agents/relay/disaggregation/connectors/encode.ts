// Encoding images, audio and video on engines of their own, before prefill or decode.
//
//   items     content parts of a chat that need an encoder; one that stands twice by URL, once
//   encode    one request an item: the request as it came, its messages only the item, one token
//   then      ec-nixl      the answers' ec_transfer_params, by hash of the item, in one object
//             ec-example   nothing: encoders fill a cache that all engines read
//             both         cache_hit_threshold: 0
//
// Source: llm-d-router pkg/sidecar/proxy/connector_ec_{common,nixl,shared_storage}.go. Where two answers
// differ about one hash, that takes the later one; here it is a conflict, as in llm-d's coordinator.

import { scanElements } from "../../../protocol/json-spans.ts";
import type { StagedRequest } from "../connector.ts";
import { editMembers, isObject, parseJson, readMember, readMembers } from "./json-edits.ts";
import { shortPrefillEdits } from "./prefill-limits.ts";

/** Values of llm-d's `--ec-connector`. */
export const ENCODE_CONNECTOR_NAMES = ["ec-example", "ec-nixl"] as const;

export type EncodeConnectorName = (typeof ENCODE_CONNECTOR_NAMES)[number];

/** Where encode requests go, whatever the API. */
export const ENCODE_PATH = "/v1/chat/completions";

/** With more of these or of their bytes, the request is left to the engines that prefill: they have encoders, too. */
export const ENCODE_ITEMS_MAX = 256;

const SCAN_LIMITS = { depthMax: 256, elementsMax: 65_536 };
const ITEM_TYPES = new Set(["image_url", "audio_url", "video_url", "input_audio"]);

/** Of all bodies of a request together: each repeats what stands beside the messages, tools for one. */
export const ENCODE_BYTES_MAX = 128 * 1024 * 1024;

/** What encoders are to be sent. A body is made when its turn comes: together they may be many times the request. */
export interface EncodeBodies {
  /** Not 0. */
  readonly count: number;
  /** Of the largest bodies, `atOnce` of them, and of what they are made from. */
  bytesHeld(atOnce: number): number;
  make(index: number): Uint8Array;
}

/** "no-items" where there is nothing to encode, "too-large" where there is too much. */
export function encodeBodies(request: StagedRequest): EncodeBodies | "no-items" | "too-large" {
  const items = itemsOf(request.body);
  if (items.length === 0) return "no-items";
  if (items.length > ENCODE_ITEMS_MAX) return "too-large";
  const frame = frameOf(request);
  if (frame === undefined) return "no-items";
  const { before, after } = frame;
  const frameBytes = before.byteLength + after.byteLength;
  const sizes = items.map((item) => frameBytes + item.byteLength).sort((a, b) => b - a);
  const sum = (bytes: readonly number[]) => bytes.reduce((total, each) => total + each, 0);
  if (sum(sizes) > ENCODE_BYTES_MAX) return "too-large";
  return {
    count: items.length,
    bytesHeld: (atOnce) => frameBytes + sum(sizes.slice(0, atOnce)),
    make: (index) => Buffer.concat([before, items[index]!, after]),
  };
}

/** What stands before and after an item in the body that has only this one. */
function frameOf(request: StagedRequest): { before: Uint8Array; after: Uint8Array } | undefined {
  const limits = shortPrefillEdits({ ...request, api: "chat" });
  const frame = editMembers(request.body, { ...limits, messages: `${OPENING}${CLOSING}` });
  const messages = frame === undefined ? undefined : readMember(frame, "messages");
  if (frame === undefined || messages === undefined) return undefined;
  const at = messages.byteOffset - frame.byteOffset + OPENING.length;
  return { before: frame.subarray(0, at), after: frame.subarray(at) };
}

const OPENING = '[{"role":"user","content":[';
const CLOSING = "]}]";

export type Encoded =
  | {
      readonly ok: true;
      /** For the legs that follow. */
      readonly body: Uint8Array;
      /** Answers that named nothing to fetch: their items are encoded again where the prompt is read. */
      readonly missingCount: number;
    }
  /** Two encoders say different things about the item of `hash`. */
  | { readonly ok: false; readonly hash: string };

/** The request for prefill or decode, given the bodies of all encoders' 2xx answers. */
export function mergeEncoded(
  body: Uint8Array,
  answers: readonly Uint8Array[],
  connector: EncodeConnectorName,
): Encoded {
  const merged = new Map<string, Uint8Array>();
  let missingCount = 0;
  for (const answer of connector === "ec-nixl" ? answers : []) {
    const params = readMember(answer, "ec_transfer_params");
    const descriptors = params === undefined ? [] : descriptorsOf(params);
    if (descriptors.length === 0) missingCount += 1;
    for (const [hash, descriptor] of descriptors) {
      const known = merged.get(hash);
      if (known !== undefined && !isSameJson(known, descriptor)) return { ok: false, hash };
      merged.set(hash, known ?? descriptor);
    }
  }
  const edits = { ec_transfer_params: objectOf(merged), cache_hit_threshold: "0" };
  return { ok: true, body: editMembers(body, edits) ?? body, missingCount };
}

/** One that is null has nothing to fetch. */
function descriptorsOf(params: Uint8Array): [string, Uint8Array][] {
  const isJson = isObject(parseJson(params));
  const members = isJson ? [...(readMembers(params) ?? [])] : [];
  return members.filter(([, value]) => Buffer.from(value).toString("latin1") !== "null");
}

function objectOf(members: ReadonlyMap<string, Uint8Array>): string | undefined {
  if (members.size === 0) return undefined;
  const texts = [...members].map(
    ([key, value]) => `${JSON.stringify(key)}:${Buffer.from(value).toString()}`,
  );
  return `{${texts.join(",")}}`;
}

/** Whether two texts differ in spaces only. Digits of large numbers count: they may be addresses. */
function isSameJson(a: Uint8Array, b: Uint8Array): boolean {
  return withoutSpaces(a) === withoutSpaces(b);
}

function withoutSpaces(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString()
    .replaceAll(/("(?:[^"\\]|\\.)*")|\s+/g, "$1");
}

function itemsOf(body: Uint8Array): Uint8Array[] {
  const items: Uint8Array[] = [];
  const urls = new Set<string>();
  const messages = readMember(body, "messages");
  for (const message of elementsOf(messages)) {
    for (const part of elementsOf(readMember(message, "content"))) {
      const type = readMember(part, "type");
      const name = type === undefined ? undefined : parseJson(type);
      if (typeof name !== "string" || !ITEM_TYPES.has(name)) continue;
      const url = urlOf(part, name);
      if (url !== undefined && urls.has(url)) continue;
      if (url !== undefined) urls.add(url);
      items.push(part);
    }
  }
  return items;
}

/** Undefined where the item is in the request itself. */
function urlOf(part: Uint8Array, type: string): string | undefined {
  const value = readMember(part, type);
  const url = value === undefined ? undefined : readMember(value, "url");
  const text = url === undefined ? undefined : parseJson(url);
  return typeof text === "string" && text !== "" ? text : undefined;
}

function elementsOf(array: Uint8Array | undefined): Uint8Array[] {
  if (array === undefined) return [];
  const ranges = scanElements(array, SCAN_LIMITS) ?? [];
  return ranges.map(({ start, end }) => array.subarray(start, end));
}
