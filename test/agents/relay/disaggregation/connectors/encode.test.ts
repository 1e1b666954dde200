import { describe, expect, it } from "vitest";
import {
  ENCODE_BYTES_MAX,
  ENCODE_ITEMS_MAX,
  encodeBodies,
  mergeEncoded,
} from "../../../../../src/agents/relay/disaggregation/connectors/encode.ts";

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();
const plan = (body: string) => encodeBodies({ api: "chat", body: Buffer.from(body) });
const bodies = (body: string) => {
  const planned = plan(body);
  if (typeof planned === "string") throw new Error(planned);
  return Array.from({ length: planned.count }, (_, index) => text(planned.make(index)));
};
const image = (url: string) => `{"type":"image_url","image_url":{"url":"${url}","x":1.0}}`;
const chat = (...parts: string[]) =>
  `{"messages":[{"role":"system","content":"see"},{"role":"user","content":[${parts.join(",")}]}]}`;

describe("encodeBodies", () => {
  it("makes one request of each item, as it stands in the request", () => {
    const audio = '{"type":"input_audio","input_audio":{"data":"AAAA" , "format":"wav"}}';
    const parts = ['{"type":"text","text":"hi"}', image("http://a/1"), audio];
    const alone = (item: string) => `[{"role":"user","content":[${item}]}]`;
    const begin = '{"stream":false,"max_tokens":1,"messages":';
    expect(bodies(chat(...parts))).toEqual([
      `${begin}${alone(image("http://a/1"))}}`,
      `${begin}${alone(audio)}}`,
    ]);
  });

  it("asks once for what stands twice by URL, and each time for what stands in the request", () => {
    const audio = '{"type":"input_audio","input_audio":{"data":"AAAA"}}';
    expect(bodies(chat(image("u"), image("u"), image("v"), audio, audio))).toHaveLength(4);
  });

  it("sets the limits an encode request needs, and keeps the rest", () => {
    const body =
      '{"stream":true,"stream_options":{},"max_completion_tokens":9,"min_tokens":5,"seed":12345678901234567890,' +
      chat(image("u")).slice(1);
    expect(bodies(body)).toEqual([
      '{"max_tokens":1,"stream":false,"max_completion_tokens":1,"seed":12345678901234567890,' +
        `"messages":[{"role":"user","content":[${image("u")}]}]}`,
    ]);
  });

  it.for(["{}", '{"messages":7}', '{"messages":[1,{"content":"x"},{"content":[1,{}]}]}', "x"])(
    "finds nothing in %s",
    (body) => {
      expect(plan(body)).toBe("no-items");
    },
  );

  it("encodes as many items as are allowed, and none of more", () => {
    const images = (count: number) =>
      chat(...Array.from({ length: count }, (_, index) => image(`u${index}`)));
    expect(bodies(images(ENCODE_ITEMS_MAX))).toHaveLength(ENCODE_ITEMS_MAX);
    expect(plan(images(ENCODE_ITEMS_MAX + 1))).toBe("too-large");
  });

  it("makes none where all together would be longer than is allowed", () => {
    const items = Array.from({ length: 128 }, (_, index) => image(`u${index}`));
    const withTools = (bytes: number) =>
      `{"tools":"${"x".repeat(bytes)}",${chat(...items).slice(1)}`;
    const tools = ENCODE_BYTES_MAX / 128;
    expect(plan(withTools(tools - 1024))).toMatchObject({ count: 128 });
    expect(plan(withTools(tools))).toBe("too-large");
  });

  it("says what the largest take that are held at once", () => {
    const planned = plan(chat(image("u"), image("a longer one"), image("v")));
    if (typeof planned === "string") throw new Error(planned);
    const sizes = [0, 1, 2].map((index) => planned.make(index).byteLength);
    const frame = sizes[0]! - Buffer.byteLength(image("u"));
    expect(planned.bytesHeld(2)).toBe(frame + sizes[1]! + sizes[0]!);
    expect(planned.bytesHeld(8)).toBe(frame + sizes.reduce((a, b) => a + b));
  });
});

describe("mergeEncoded", () => {
  const merge = (answers: string[], connector: "ec-nixl" | "ec-example" = "ec-nixl") => {
    const merged = mergeEncoded(
      Buffer.from('{"model":"m"}'),
      answers.map((answer) => Buffer.from(answer)),
      connector,
    );
    return merged.ok ? { ...merged, body: text(merged.body) } : merged;
  };

  it("puts what every encoder says into one object, byte for byte", () => {
    const first = '{"ec_transfer_params":{"h1":{"addr":18446744073709551615,"x":1.0}}}';
    const second = '{"ec_transfer_params":{"ü" : {"k":[1]},"h3":null}}';
    expect(merge([first, second])).toEqual({
      ok: true,
      missingCount: 0,
      body:
        '{"ec_transfer_params":{"h1":{"addr":18446744073709551615,"x":1.0},"ü":{"k":[1]}},' +
        '"cache_hit_threshold":0,"model":"m"}',
    });
  });

  it("takes the same said twice, however it is spaced", () => {
    const merged = merge([
      '{"ec_transfer_params":{"h":{"a b":1,"c":2}}}',
      '{"ec_transfer_params":{"h":{ "a b" : 1,\n"c":2 }}}',
    ]);
    expect(merged.ok).toBe(true);
  });

  it.for(['{"addr":18446744073709551614}', '{"addr":"18446744073709551615"}'])(
    "refuses %s beside another of the same hash",
    (other) => {
      const one = '{"ec_transfer_params":{"h":{"addr":18446744073709551615}}}';
      const merged = merge([one, `{"ec_transfer_params":{"h":${other}}}`]);
      expect(merged).toEqual({ ok: false, hash: "h" });
    },
  );

  it("counts encoders that name nothing", () => {
    const answers = ["{}", '{"ec_transfer_params":null}', '{"ec_transfer_params":{"h":1}}'];
    expect(merge(answers)).toMatchObject({ missingCount: 2 });
    expect(merge(["{}"])).toMatchObject({ body: '{"cache_hit_threshold":0,"model":"m"}' });
  });

  it("needs nothing of encoders that fill a shared cache", () => {
    expect(merge(['{"ec_transfer_params":{"h":1}}'], "ec-example")).toEqual({
      ok: true,
      missingCount: 0,
      body: '{"cache_hit_threshold":0,"model":"m"}',
    });
  });
});
