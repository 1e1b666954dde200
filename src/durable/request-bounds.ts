// The bounds of a request's facts, held by the object itself: a Worker of another version may send more
// than this one counts with.

import { CONTENT_KEYS_MAX } from "../scheduler/kv/content-keys.ts";
import {
  type InferenceRequest,
  REQUEST_FACTS_LIMITS,
  type RequestMedia,
} from "../scheduler/model/inference-request.ts";

/** The same request where nothing is too long. What is too much is cut off or left out. */
export function boundRequest(request: InferenceRequest): InferenceRequest {
  const { headers, media, ...rest } = request;
  const keys = boundWords(request.keys, 2 * CONTENT_KEYS_MAX);
  const boundedHeaders = headers === undefined ? undefined : boundHeaders(headers);
  const boundedMedia = media === undefined ? undefined : boundMedia(media);
  if (keys === request.keys && boundedHeaders === headers && boundedMedia === media) return request;
  return {
    ...rest,
    keys,
    ...(boundedHeaders === undefined ? {} : { headers: boundedHeaders }),
    ...(boundedMedia === undefined ? {} : { media: boundedMedia }),
  };
}

function boundHeaders(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const { headersMax } = REQUEST_FACTS_LIMITS;
  const entries = Object.entries(headers);
  const kept = entries.filter(([name, value]) => isShort(name) && isShort(value));
  if (kept.length === entries.length && kept.length <= headersMax) return headers;
  return Object.fromEntries(kept.slice(0, headersMax));
}

/** A UTF-16 unit is at most three bytes: most values need not be encoded to be measured. */
function isShort(text: string): boolean {
  const bytesMax = REQUEST_FACTS_LIMITS.headerValueBytesMax;
  return 3 * text.length <= bytesMax || new TextEncoder().encode(text).byteLength <= bytesMax;
}

function boundMedia(media: RequestMedia): RequestMedia {
  const { mediaMax } = REQUEST_FACTS_LIMITS;
  const hashes = boundWords(media.hashes, 2 * mediaMax);
  const tokens = boundWords(media.tokens, mediaMax);
  return hashes === media.hashes && tokens === media.tokens ? media : { hashes, tokens };
}

function boundWords(words: Uint32Array, countMax: number): Uint32Array {
  return words.length <= countMax ? words : words.subarray(0, countMax);
}
