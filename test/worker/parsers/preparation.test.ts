import { expect, it } from "vitest";
import type { ParsedRequest, ParserInput } from "../../../src/worker/parsers/parser.ts";
import { preparationOf, prepareEach, prepareFor } from "../../../src/worker/parsers/preparation.ts";

const INPUT: ParserInput = {
  path: "/v1/chat/completions",
  bytes: new Uint8Array(1),
  headers: new Headers(),
};
const TENANT = { id: "t", isolated: false } as const;

function counted() {
  const asked: string[] = [];
  const parsed: ParsedRequest = {
    model: "m",
    isStream: false,
    prepare: (model) => {
      asked.push(model);
      const keys = new Uint32Array();
      const body = new Uint8Array();
      const facts = { isStream: false, body, keys, promptTokens: 0, outputTokensMax: null };
      return Promise.resolve({ path: "/v1/chat/completions", model, ...facts });
    },
  };
  const parses: ParserInput[] = [];
  const parser = {
    parse: (given: ParserInput) => {
      parses.push(given);
      return { ok: true, value: parsed } as const;
    },
  };
  const prepare = (models: string[]) =>
    prepareFor(parsed, { parser, input: INPUT, tenant: TENANT, models });
  return { asked, parses, parsed, parser, prepare };
}

it("prepares once where all pools call the model the same", async () => {
  const { asked, parses, ...counting } = counted();
  const prepare = await counting.prepare(["m", "m", "m"]);
  for (let i = 0; i < 3; i++) expect((await prepare("m")).model).toBe("m");
  expect(asked).toEqual(["m"]);
  expect(parses).toEqual([]);
});

it("prepares again only for a pool that calls it otherwise, and only when it is tried", async () => {
  const { asked, parses, ...counting } = counted();
  const prepare = await counting.prepare(["a", "b", "b"]);
  expect(asked).toEqual(["a"]);
  expect((await prepare("a")).model).toBe("a");
  expect((await prepare("b")).model).toBe("b");
  expect((await prepare("b")).model).toBe("b");
  expect(asked).toEqual(["a", "b"]);
  // From the bytes: the parse of before is not kept for it.
  expect(parses).toEqual([INPUT]);
});

it("prepares for several names from one parse, and goes on with the one that was chosen", async () => {
  const { asked, parses, parsed, parser } = counted();
  const prepared = await prepareEach(parsed, ["a", "b"], TENANT);
  expect([...prepared.keys()]).toEqual(["a", "b"]);
  const from = { parser, input: INPUT, tenant: TENANT, models: ["b", "a"] };
  const prepare = preparationOf(prepared.get("b")!, from);
  expect((await prepare("b")).model).toBe("b");
  expect(asked).toEqual(["a", "b"]);
  expect(parses).toEqual([]);
  expect((await prepare("a")).model).toBe("a");
  expect(parses).toEqual([INPUT]);
});
