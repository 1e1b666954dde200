// A small model for tests: byte pairs of a few words, and a chat template.

import { Tokenizer } from "@huggingface/tokenizers";

const WORDS = ["The", "Ġmoon", "Ġgoes", "Ġup", "Ġtide"];
const MARKERS = ["<|user|>", "<|system|>", "<|end|>"];

export const TOKENIZER = bytePairs();
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

/** GPT-2's alphabet, and the words letter by letter. */
function bytePairs(): object {
  const vocab = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const isPrintable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    vocab.set(String.fromCodePoint(isPrintable ? byte : next++), byte);
  }
  const merges: [string, string][] = [];
  for (const word of WORDS) {
    for (let end = 2; end <= word.length; end++) {
      const piece = word.slice(0, end);
      if (vocab.has(piece)) continue;
      vocab.set(piece, vocab.size);
      merges.push([word.slice(0, end - 1), word[end - 1]!]);
    }
  }
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, use_regex: true };
  return {
    version: "1.0",
    added_tokens: MARKERS.map((content, i) => ({
      id: vocab.size + i,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: { type: "BPE", vocab: Object.fromEntries(vocab), merges },
  };
}
