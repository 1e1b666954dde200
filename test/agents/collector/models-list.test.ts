import { expect, it } from "vitest";
import { parseModelsList } from "../../../src/agents/collector/models-list.ts";
import { PROTOCOL_LIMITS } from "../../../src/agents/protocol/limits.ts";

it.for([
  [
    "a list",
    '{"object":"list","data":[{"id":"a","parent":null},{"id":"b","root":"a"}]}',
    ["a", "b"],
  ],
  ["an empty list", '{"data":[]}', []],
  ["one name twice", '{"data":[{"id":"a"},{"id":"a"}]}', ["a"]],
  ["an error page", "<html>", undefined],
  ["something else", '{"error":{}}', undefined],
  ["a model without a name", '{"data":[{}]}', undefined],
] as const)("%s is read as what it is", ([, text, models]) => {
  expect(parseModelsList(text)).toEqual(models);
});

it("keeps as many models as a frame has room for, and no name that is too long", () => {
  const list = (ids: string[]) => JSON.stringify({ data: ids.map((id) => ({ id })) });
  const ids = Array.from({ length: PROTOCOL_LIMITS.modelsPerEndpointMax + 1 }, (_, i) => `m${i}`);
  expect(parseModelsList(list(ids))).toEqual(ids.slice(0, -1));
  const longest = "x".repeat(PROTOCOL_LIMITS.labelCharsMax);
  expect(parseModelsList(list([longest, `${longest}x`]))).toEqual([longest]);
});
