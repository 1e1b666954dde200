import { expect, it } from "vitest";
import type { ParsedRequest } from "../../../src/worker/parsers/parser.ts";
import { prepareFor } from "../../../src/worker/parsers/preparation.ts";

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
  return { asked, parsed };
}

it("prepares once where all pools call the model the same", async () => {
  const { asked, parsed } = counted();
  const prepare = await prepareFor(parsed, TENANT, ["m", "m", "m"]);
  for (let i = 0; i < 3; i++) expect((await prepare("m")).model).toBe("m");
  expect(asked).toEqual(["m"]);
});

it("prepares again only for a pool that calls it otherwise, and only when it is tried", async () => {
  const { asked, parsed } = counted();
  const prepare = await prepareFor(parsed, TENANT, ["a", "b", "b"]);
  expect(asked).toEqual(["a"]);
  expect((await prepare("a")).model).toBe("a");
  expect((await prepare("b")).model).toBe("b");
  expect((await prepare("b")).model).toBe("b");
  expect(asked).toEqual(["a", "b"]);
});
