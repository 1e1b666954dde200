import { expect, it } from "vitest";
import { parseUsage } from "../../../src/agents/protocol/answer-usage.ts";

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
  [
    '{"input_tokens":3,"output_tokens":4,"input_tokens_details":{"cached_tokens":2}}',
    { promptTokens: 3, cachedTokens: 2, completionTokens: 4 },
  ],
  [
    '{"input_tokens":3,"cache_read_input_tokens":2,"cache_creation_input_tokens":1}',
    { ...counted, promptTokens: 6, cachedTokens: 2 },
  ],
  ['{"output_tokens":4}', { ...counted, promptTokens: null, completionTokens: 4 }],
])("reads %s", (json, usage) => {
  expect(parseUsage(json)).toEqual(usage);
});

it.each([
  "null",
  "[]",
  "3",
  "{",
  "{}",
  '{"input_tokens":{"type":"integer"}}',
  '{"input_tokens":3,"input_tokens_details":7}',
  '{"input_tokens":3,"cache_read_input_tokens":"2"}',
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
