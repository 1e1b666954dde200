import { expect, it } from "vitest";
import { parseUsage } from "../../../src/agents/relay/usage.ts";

const counted = { promptTokens: 3, cachedTokens: null, completionTokens: null };

it.each([
  ['{"prompt_tokens":3}', counted],
  ['{"prompt_tokens":3,"completion_tokens":null,"prompt_tokens_details":null}', counted],
  ['{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":null}}', counted],
  ['{"prompt_tokens":3,"prompt_tokens_details":{}}', counted],
  ['{"prompt_tokens":3,"completion_tokens":0}', { ...counted, completionTokens: 0 }],
  [
    '{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":2}}',
    { ...counted, cachedTokens: 2 },
  ],
])("reads %s", (json, usage) => {
  expect(parseUsage(json)).toEqual(usage);
});

it.each([
  "null",
  "[]",
  "3",
  "{",
  "{}",
  '{"prompt_tokens":"3"}',
  '{"prompt_tokens":-1}',
  '{"prompt_tokens":1.5}',
  '{"prompt_tokens":1e300}',
  '{"prompt_tokens":3,"completion_tokens":"4"}',
  '{"prompt_tokens":3,"prompt_tokens_details":[]}',
  '{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":-1}}',
])("takes %s for no usage", (json) => {
  expect(parseUsage(json)).toBeUndefined();
});
