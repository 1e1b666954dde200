import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HELD_BYTES_MAX, ModelNames } from "../../../src/agents/relay/model-names.ts";

const ENGINE = "org/llama-8b:v2";
const CLIENT = 'my "fast" mödel';
const VALUE = JSON.stringify(CLIENT);

/** Passes `text` in chunks that end at `cuts`. */
function pass(text: string, cuts: readonly number[] = [], engineName = ENGINE): string {
  const names = new ModelNames(engineName, CLIENT);
  const bytes = Buffer.from(text);
  const out: Buffer[] = [];
  let from = 0;
  for (const cut of [...cuts, bytes.byteLength]) {
    out.push(Buffer.from(names.push(bytes.subarray(from, cut))));
    from = cut;
  }
  out.push(names.end());
  return Buffer.concat(out).toString("utf8");
}

describe("what is replaced", () => {
  it.for([
    { name: "a compact member", text: `{"model":"${ENGINE}"}`, expected: `{"model":${VALUE}}` },
    {
      name: "one with a space",
      text: `{"id":1, "model": "${ENGINE}"}`,
      expected: `{"id":1, "model": ${VALUE}}`,
    },
    {
      name: "one with any space",
      text: `{"model"\n\t:  "${ENGINE}" }`,
      expected: `{"model"\n\t:  ${VALUE} }`,
    },
    {
      name: "an escaped spelling",
      text: '{"model":"org\\/llama-8b\\u003av2"}',
      expected: `{"model":${VALUE}}`,
    },
    {
      name: "both spellings in one answer, which llm-d does not",
      text: `{"model":"${ENGINE}","b":{"model": "${ENGINE}"}}`,
      expected: `{"model":${VALUE},"b":{"model": ${VALUE}}}`,
    },
    {
      name: "each event of a stream",
      text: `data: {"model":"${ENGINE}","n":1}\n\ndata: {"model":"${ENGINE}","n":2}\n\n`,
      expected: `data: {"model":${VALUE},"n":1}\n\ndata: {"model":${VALUE},"n":2}\n\n`,
    },
  ])("$name", ({ text, expected }) => {
    expect(pass(text)).toBe(expected);
  });

  it("may hold quotes and backslashes itself", () => {
    const name = 'a "quoted\\" name';
    const text = JSON.stringify({ model: name });
    expect(pass(text, [], name)).toBe(`{"model":${VALUE}}`);
  });

  it.for([
    { name: "another model", text: '{"model":"another"}' },
    { name: "a longer name", text: `{"model":"${ENGINE}-x"}` },
    { name: "another key", text: `{"my_model":"${ENGINE}","models":"${ENGINE}"}` },
    { name: "a value", text: `{"x":"model","y":"${ENGINE}"}` },
    { name: "what is not a string", text: '{"model":null,"x":{"model":{}},"y":{"model":1}}' },
    { name: "text of the model", text: JSON.stringify({ content: `{"model":"${ENGINE}"}` }) },
    { name: "a key that ends so", text: `{"say \\"model":"${ENGINE}"}` },
    { name: "a list", text: `{"model":["${ENGINE}"]}` },
    { name: "too much space", text: `{"model":${" ".repeat(17)}"${ENGINE}"}` },
    { name: "what is no JSON", text: `<p class="model">"model":"\\x"` },
    { name: "an end inside a name", text: '{"model":"org/lla' },
    { name: "an end inside a key", text: '{"mod' },
  ])("not $name", ({ text }) => {
    expect(pass(text)).toBe(text);
  });
});

describe("chunks", () => {
  const text =
    `data: {"id":"1","model":"${ENGINE}","x":"\\"model\\":"}\n\n` +
    `data: {"say \\"model":"${ENGINE}"}\n\ndata: {"model" : "${ENGINE}"}\n\ndata: {"model":"${ENGINE}x"}\n\ndata: [DONE]\n\n`;
  const whole = pass(text);
  const { byteLength } = Buffer.from(text);

  it("do not matter, wherever the one cut is", () => {
    expect(whole.split(VALUE)).toHaveLength(3);
    for (let cut = 0; cut <= byteLength; cut++) expect(pass(text, [cut])).toBe(whole);
  });

  it("do not matter, byte by byte", () => {
    expect(
      pass(
        text,
        Array.from({ length: byteLength }, (_, i) => i + 1),
      ),
    ).toBe(whole);
  });

  it("do not matter, whatever the cuts", () => {
    const cuts = fc.uniqueArray(fc.integer({ min: 0, max: byteLength }), { maxLength: 12 });
    fc.assert(
      fc.property(cuts, (at) => {
        expect(
          pass(
            text,
            at.toSorted((a, b) => a - b),
          ),
        ).toBe(whole);
      }),
    );
  });

  it("hold back a bounded number of bytes", () => {
    for (const endless of ['"model":"', '"model"', '"model":', "\\"]) {
      const names = new ModelNames(ENGINE, CLIENT);
      const filler = endless.endsWith('"') && endless.length > 8 ? "x" : " ";
      let taken = 0;
      let given = 0;
      for (const piece of [endless, ...Array<string>(3_000).fill(filler)]) {
        taken += piece.length;
        given += names.push(Buffer.from(piece)).byteLength;
        expect(taken - given).toBeLessThanOrEqual(HELD_BYTES_MAX);
      }
      expect(given + names.end().byteLength).toBe(taken);
    }
  });

  it("pass at once where nothing is to be decided", () => {
    const names = new ModelNames(ENGINE, CLIENT);
    const event = Buffer.from(`data: {"model":"other"}\n\n`);
    expect(names.push(event).byteLength).toBe(event.byteLength);
  });
});
