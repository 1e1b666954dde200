import { describe, expect, it } from "vitest";
import { REQUEST_FACTS_LIMITS } from "../../../src/scheduler/model/inference-request.ts";
import { describeMedia } from "../../../src/worker/openai/media.ts";
import { parseChatRequest } from "../../../src/worker/openai/schemas.ts";

function mediaOf(content: unknown, hints: Record<string, string> = {}) {
  const parsed = parseChatRequest({ model: "m", messages: [{ role: "user", content }] });
  if (!parsed.ok) throw new Error(parsed.error.message);
  const headers = new Headers(hints);
  return describeMedia(parsed.value.messages, { headers, salt: undefined });
}
const tokensOf = async (content: unknown, hints: Record<string, string> = {}) => [
  ...((await mediaOf(content, hints))?.tokens ?? []),
];
const image = (url: string) => ({ type: "image_url", image_url: { url } });
const video = { type: "video_url", video_url: { url: "https://example.com/v.mp4" } };
const audio = (data: string, format = "wav") => ({
  type: "input_audio",
  input_audio: { data, format },
});

/** The first bytes of a PNG, 1024 × 768. */
const PNG = `data:image/png;base64,${Buffer.from(
  "89504e470d0a1a0a0000000d49484452000004000000030008020000",
  "hex",
).toString("base64")}`;

describe("tokens", () => {
  it.for([
    { name: "an image whose size is known", parts: [image(PNG)], expected: [768] },
    { name: "an image elsewhere", parts: [image("https://a/b")], expected: [225] },
    {
      name: "an image as some clients send it",
      parts: [{ type: "image_url", image_url: "https://a/b" }],
      expected: [225],
    },
    { name: "a video", parts: [video], expected: [20 * 225] },
    { name: "audio", parts: [audio("x".repeat(401))], expected: [101] },
    { name: "no audio", parts: [audio("")], expected: [1] },
    {
      name: "audio elsewhere",
      parts: [{ type: "audio_url", audio_url: { url: "https://a/b" } }],
      expected: [1],
    },
    {
      name: "several, in order, with text between",
      parts: [audio("xxxx"), { type: "text", text: "a" }, image("https://a/b"), video],
      expected: [1, 225, 4500],
    },
    { name: "what has no URL", parts: [{ type: "image_url", image_url: {} }], expected: [] },
    { name: "what nobody knows", parts: [{ type: "smell", smell: "rose" }], expected: [] },
  ])("of $name", async ({ parts, expected }) => {
    expect(await tokensOf(parts)).toEqual(expected);
  });

  it.for([
    { hints: { "x-llm-d-video-duration-seconds": "2.5" }, expected: 5 * 225 },
    { hints: { "x-llm-d-video-resolution": "1024x1024" }, expected: 20 * 1024 },
    {
      hints: { "x-llm-d-video-duration-seconds": "1", "x-llm-d-video-resolution": " 64 X 16 " },
      expected: 2,
    },
    { hints: { "x-llm-d-video-duration-seconds": "0.1" }, expected: 1 },
    { hints: { "x-llm-d-video-duration-seconds": "-3" }, expected: 4500 },
    { hints: { "x-llm-d-video-duration-seconds": "1e9" }, expected: 4500 },
    { hints: { "x-llm-d-video-resolution": "0x5" }, expected: 4500 },
    { hints: { "x-llm-d-video-resolution": "wide" }, expected: 4500 },
    // How fast the source is does not matter: engines sample.
    { hints: { "x-llm-d-video-fps": "60" }, expected: 4500 },
  ])("of a video with $hints", async ({ hints, expected }) => {
    expect(await tokensOf([video], hints as unknown as Record<string, string>)).toEqual([expected]);
  });
});

describe("hashes", () => {
  async function hashes(...parts: unknown[]): Promise<string[]> {
    const { hashes } = (await mediaOf(parts))!;
    return Array.from({ length: hashes.length / 2 }, (_, i) =>
      hashes.slice(2 * i, 2 * i + 2).join(),
    );
  }

  it("are equal for the same medium, and only for it", async () => {
    const [a, b, again, wav, mp3] = await hashes(
      image("https://a"),
      image("https://b"),
      { type: "image_url", image_url: { url: "https://a", detail: "low" } },
      audio("xxxx", "wav"),
      audio("xxxx", "mp3"),
    );
    expect(again).toBe(a);
    expect(new Set([a, b, wav, mp3]).size).toBe(4);
  });

  it("tell audio by its URL", async () => {
    const at = (url: string) => ({ type: "audio_url", audio_url: { url } });
    const [a, b] = await hashes(at("https://a"), at("https://b"));
    expect(a).not.toBe(b);
  });
});

it("is nothing where there are no media", async () => {
  expect(await mediaOf("text")).toBeUndefined();
  expect(await mediaOf([{ type: "text", text: "a" }])).toBeUndefined();
  expect(await mediaOf(null)).toBeUndefined();
});

it("describes a bounded number of media", async () => {
  const { mediaMax } = REQUEST_FACTS_LIMITS;
  const many = Array.from({ length: mediaMax + 1 }, (_, i) => image(`https://a/${i}`));
  const media = (await mediaOf(many))!;
  expect(media.tokens).toHaveLength(mediaMax);
  expect(media.hashes).toHaveLength(2 * mediaMax);
});
