// Images, audio and video of a conversation, for schedulers that know which endpoint has encoded what:
// a hash of each and an estimate of its prompt tokens.
//
//   image  pixels / 1024, read from a data URL's PNG, JPEG or GIF header; 640 × 360 where it cannot be
//   video  frames × pixels / 1024: 10 s at 2 frames a second and 640 × 360, or as the headers say
//   audio  bytes of the data / 4, at least 1
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/dataproducer/tokenizer (estimate
// backend). There all audio that is given by URL is one; here each URL is its own.

import {
  type RequestMedia,
  REQUEST_FACTS_LIMITS,
} from "../../scheduler/model/inference-request.ts";
import { type ImageSize, readImageSize } from "./image-size.ts";
import type { ChatMessage, ContentPart } from "./schemas.ts";

const PIXELS_PER_TOKEN = 1_024;
const BYTES_PER_AUDIO_TOKEN = 4;
const DEFAULT_SIZE: ImageSize = { width: 640, height: 360 };
const DEFAULT_VIDEO_SECONDS = 10;
/** How many of a video's frames engines look at, whatever it has. */
const SAMPLED_FRAMES_PER_SECOND = 2;
/** A day; what says more is mistaken. */
const VIDEO_SECONDS_MAX = 86_400;
const SIDE_PIXELS_MAX = 65_535;
const TOKENS_MAX = 0xffff_ffff;

/** What a client says of its videos, all of them. */
interface VideoHints {
  readonly seconds?: number;
  readonly size?: ImageSize;
}

/** From the client's headers; what cannot be read is not there. */
function readVideoHints(headers: Pick<Headers, "get">): VideoHints {
  const seconds = Number(headers.get("x-llm-d-video-duration-seconds") ?? Number.NaN);
  const resolution = headers.get("x-llm-d-video-resolution") ?? "";
  const sides = /^\s*(\d{1,5})\s*[xX]\s*(\d{1,5})\s*$/.exec(resolution);
  const size = sides === null ? undefined : { width: Number(sides[1]), height: Number(sides[2]) };
  const isSize = size !== undefined && isSide(size.width) && isSide(size.height);
  return {
    ...(seconds > 0 && seconds <= VIDEO_SECONDS_MAX ? { seconds } : {}),
    ...(isSize ? { size } : {}),
  };
}

function isSide(pixels: number): boolean {
  return pixels >= 1 && pixels <= SIDE_PIXELS_MAX;
}

/** One image, clip or video. */
interface Medium {
  /** What it is told apart by: its URL, or its data. */
  readonly content: string;
  readonly tokens: number;
}

interface MediaFacts {
  /** The client's: of its hints about videos. */
  readonly headers: Pick<Headers, "get">;
  readonly salt: string | undefined;
}

/**
 * The first REQUEST_FACTS_LIMITS.mediaMax of them; undefined where there are none. `salt` is that of the
 * content keys: media are told to be the same only within one.
 */
export async function describeMedia(
  messages: readonly ChatMessage[],
  { headers, salt }: MediaFacts,
): Promise<RequestMedia | undefined> {
  const hints = readVideoHints(headers);
  const found: Medium[] = [];
  for (const { content } of messages) {
    if (typeof content === "string" || content === null) continue;
    for (const part of content) {
      if (found.length >= REQUEST_FACTS_LIMITS.mediaMax) break;
      const medium = mediumOf(part, hints);
      if (medium !== undefined) found.push(medium);
    }
  }
  if (found.length === 0) return undefined;
  const hashes = new Uint32Array(2 * found.length);
  for (const [index, { content }] of found.entries()) {
    hashes.set(await hashOf(content, salt), 2 * index);
  }
  const tokens = Uint32Array.from(found, (medium) =>
    Math.min(TOKENS_MAX, Math.max(1, Math.floor(medium.tokens))),
  );
  return { hashes, tokens };
}

function mediumOf(part: ContentPart, hints: VideoHints): Medium | undefined {
  switch (part.type) {
    case "image_url": {
      const content = urlOf(part["image_url"]);
      if (content === undefined) return undefined;
      return { content, tokens: tokensOfPixels(readImageSize(content) ?? DEFAULT_SIZE) };
    }
    case "video_url": {
      const content = urlOf(part["video_url"]);
      if (content === undefined) return undefined;
      const { seconds = DEFAULT_VIDEO_SECONDS, size = DEFAULT_SIZE } = hints;
      const frames = Math.floor(seconds * SAMPLED_FRAMES_PER_SECOND);
      return { content, tokens: frames * tokensOfPixels(size) };
    }
    case "audio_url": {
      const content = urlOf(part["audio_url"]);
      return content === undefined ? undefined : { content, tokens: 1 };
    }
    case "input_audio": {
      const { data, format } = membersOf(part["input_audio"]);
      if (typeof data !== "string") return undefined;
      const content = data + (typeof format === "string" ? format : "");
      return { content, tokens: Math.ceil(data.length / BYTES_PER_AUDIO_TOKEN) };
    }
    default:
      return undefined;
  }
}

function tokensOfPixels({ width, height }: ImageSize): number {
  return Math.max(1, Math.floor((width * height) / PIXELS_PER_TOKEN));
}

/** `{"url": …}`, or the URL itself as some clients send it. */
function urlOf(value: unknown): string | undefined {
  const url = typeof value === "string" ? value : membersOf(value)["url"];
  return typeof url === "string" && url !== "" ? url : undefined;
}

function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

/**
 * Two words of its SHA-256: native code, where any hash in script would take longer. The salt comes
 * first, with its length, so that no content can pose as another salt's.
 */
async function hashOf(content: string, salt = ""): Promise<[number, number]> {
  const text = new TextEncoder().encode(`${salt.length}:${salt}${content}`);
  const digest = await crypto.subtle.digest("SHA-256", text);
  const words = new DataView(digest);
  return [words.getUint32(0, true), words.getUint32(4, true)];
}
