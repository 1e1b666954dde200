// A small model for tests: byte pairs learned from a few sentences, and a chat template.

import { Tokenizer } from "@huggingface/tokenizers";
import { trainBytePairs } from "../../../bench/content-alignment/vocabulary.ts";

const TEXT = "The moon goes up, and the tide goes out over the harbour while people sleep. ".repeat(
  4,
);

export const TOKENIZER = trainBytePairs(TEXT, ["<|user|>", "<|system|>", "<|end|>"]);
export const TEMPLATE = `{%- if tools %}{{ tools | tojson }}{% endif -%}
{%- for message in messages -%}
{%- if message.role == 'nobody' %}{{ raise_exception('no such role: ' + message.content) }}{% endif -%}
<|{{ message.role }}|>{{ message.content }}
{%- for call in message.tool_calls or [] %}{{ call.function.arguments.city }}{% endfor -%}
<|end|>
{%- endfor -%}
{%- if add_generation_prompt %}{{ bos_token }}{% endif -%}`;
export const CONFIG = { bos_token: { content: "<|system|>" }, chat_template: TEMPLATE };

/** Token ids, by the library itself. */
export function idsOf(text: string): Uint32Array {
  const tokenizer = new Tokenizer(TOKENIZER, CONFIG);
  return Uint32Array.from(tokenizer.encode(text, { add_special_tokens: false }).ids);
}
