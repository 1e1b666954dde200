// What tokenizing a prompt at the edge costs beside hashing its content, and what a vocabulary takes.
//
// The vocabulary knows the prompts' words, as a model's does, and is filled up to the size of a large one
// with tokens that no prompt has. Prompts are counted by the usual four bytes a token.

import { createContentKeys } from "../src/scheduler/kv/content-keys.ts";
import { createRng } from "../src/scheduler/support/rng.ts";
import { createModel } from "../src/worker/token-keys/model-library.ts";
import { promptTokenKeys } from "../src/worker/token-keys/prompt-keys.ts";
import { trainBytePairs } from "./content-alignment/vocabulary.ts";
import {
  liveBytes,
  type Measurement,
  nanosecondsEach,
  sink,
  type Timing,
  TIMING,
} from "./measure.ts";

export const TOKEN_KEYS_NAME = "token-keys";
const AGAINST = "content keys";
/** As of current models with large vocabularies. */
const VOCABULARY = 150_000;
const WORDS = 4_000;
const PROMPT_TOKENS = [1_000, 4_000, 16_000];
const BYTES_PER_TOKEN = 4;

const encoder = new TextEncoder();

/** `vocabularySize`: tokens of the vocabulary. */
export async function* measureTokenKeys(
  vocabularySize = VOCABULARY,
  timing: Timing = TIMING,
): AsyncGenerator<Measurement> {
  const prose = createProse();
  const tokenizer = encoder.encode(JSON.stringify(largeVocabulary(prose(20_000), vocabularySize)));
  // Made once before, so that code compiled and caches filled on the way are not weighed with it.
  sink.value += createModel({ tokenizer, config: undefined, template: undefined }).tokenizer.encode(
    "warm",
  ).ids.length;
  const before = liveBytes();
  const model = createModel({ tokenizer, config: undefined, template: undefined });
  const megabytes = (liveBytes() - before) / 1e6;
  const figure = { bench: TOKEN_KEYS_NAME, against: AGAINST };
  for (const count of PROMPT_TOKENS) {
    const text = prose(count * BYTES_PER_TOKEN);
    const bytes = encoder.encode(text);
    const ns = await nanosecondsEach(
      {
        tokens: () => {
          const { ids } = model.tokenizer.encode(text, { add_special_tokens: false });
          const tokens = Uint32Array.from(ids);
          const prompt = { tokens, media: [], adapter: null, salt: undefined, blockSizeTokens: 16 };
          sink.value += promptTokenKeys(prompt).length;
        },
        content: () => {
          const keys = createContentKeys({ model: "m" });
          keys.update(bytes);
          sink.value += keys.keys().length;
        },
      },
      timing,
    );
    yield {
      ...figure,
      metric: `us_${count / 1_000}k_tokens`,
      value: ns.tokens / 1e3,
      unit: "us",
      ratio: ns.tokens / ns.content,
    };
  }
  const { bench } = figure;
  const memory = { metric: "vocabulary_mb", value: megabytes, unit: "MB" };
  yield { bench, ...memory, ratio: null, against: null };
}

/** Text of any length over the same few thousand words, most of them rare. */
function createProse(): (chars: number) => string {
  const rng = createRng(11);
  const letter = () => String.fromCharCode(97 + Math.floor(26 * rng() * rng()));
  const words = Array.from({ length: WORDS }, () =>
    Array.from({ length: 2 + Math.floor(rng() * 8) }, letter).join(""),
  );
  return (chars) => {
    let text = "";
    while (text.length < chars) text += `${words[Math.floor(WORDS * rng() * rng())]} `;
    return text;
  };
}

function largeVocabulary(text: string, size: number): object {
  const trained = trainBytePairs(text, []) as {
    readonly model: { readonly vocab: Record<string, number>; readonly merges: string[][] };
  };
  const { model } = trained;
  const vocab = { ...model.vocab };
  const merges = [...model.merges];
  let count = Object.keys(vocab).length;
  for (let i = 0; count < size; i++) {
    // Q begins no word of the prose.
    const name = `Q${i.toString(26)}`;
    const [left, right] = [name.slice(0, -1), name.slice(-1)];
    if (vocab[name] !== undefined || vocab[left] === undefined) continue;
    vocab[name] = count++;
    merges.push([left, right]);
  }
  return { ...trained, model: { ...model, vocab, merges } };
}
