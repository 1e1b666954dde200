// Small vocabularies in the form of tokenizer.json, trained on a text: byte-level BPE with the word
// pattern of current models, and a unigram model over whole text as sentencepiece makes them.

const WORDS =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const MERGES = 1_200;
/** Pairs merged before they are counted again. */
const MERGES_A_ROUND = 40;
const PIECES = 3_000;
const PIECE_CHARS_MAX = 8;

const encoder = new TextEncoder();

/** GPT-2's alphabet: a printable character for each byte. */
export const BYTE_LETTERS: readonly string[] = byteLetters();

function byteLetters(): string[] {
  const letters: string[] = [];
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const isPrintable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    letters.push(String.fromCodePoint(isPrintable ? byte : next++));
  }
  return letters;
}

function addedTokens(markers: readonly string[], from: number): unknown[] {
  return markers.map((content, i) => ({
    id: from + i,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
}

/** Byte-level BPE. */
export function trainBytePairs(text: string, markers: readonly string[]): object {
  const counts = new Map<string, number>();
  // The pattern's case-insensitive group is spelt out for JavaScript.
  const pattern = new RegExp(WORDS.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)", "'[sStTmMdD]"), "gu");
  for (const [word] of text.matchAll(pattern)) {
    const letters = [...encoder.encode(word)].map((byte) => BYTE_LETTERS[byte]!).join(" ");
    counts.set(letters, (counts.get(letters) ?? 0) + 1);
  }
  let words: { parts: readonly string[]; count: number }[] = [...counts].map(
    ([letters, count]) => ({ parts: letters.split(" "), count }),
  );
  const vocab = new Map(BYTE_LETTERS.map((letter, id) => [letter, id]));
  const merges: [string, string][] = [];
  while (merges.length < MERGES) {
    const pairs = frequentPairs(words);
    if (pairs.length === 0) break;
    for (const pair of pairs) {
      merges.push(pair);
      if (!vocab.has(pair.join(""))) vocab.set(pair.join(""), vocab.size);
      words = words.map((word) => ({ ...word, parts: mergePair(word.parts, pair) }));
    }
  }
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, use_regex: false };
  return {
    version: "1.0",
    added_tokens: addedTokens(markers, vocab.size),
    normalizer: null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: WORDS }, behavior: "Isolated", invert: false },
        byteLevel,
      ],
    },
    post_processor: null,
    decoder: byteLevel,
    model: { type: "BPE", vocab: Object.fromEntries(vocab), merges },
  };
}

/** The most frequent pairs, none of which has a part of another: merging one leaves the rest. */
function frequentPairs(
  words: readonly { readonly parts: readonly string[]; readonly count: number }[],
): [string, string][] {
  const counts = new Map<string, number>();
  for (const { parts, count } of words) {
    for (let i = 0; i + 1 < parts.length; i++) {
      const pair = `${parts[i]} ${parts[i + 1]}`;
      counts.set(pair, (counts.get(pair) ?? 0) + count);
    }
  }
  const taken = new Set<string>();
  const chosen: [string, string][] = [];
  for (const [pair, count] of [...counts].sort((a, b) => b[1] - a[1])) {
    if (count < 2 || chosen.length === MERGES_A_ROUND) break;
    const [left, right] = pair.split(" ") as [string, string];
    if (taken.has(left) || taken.has(right)) continue;
    taken.add(left).add(right);
    chosen.push([left, right]);
  }
  return chosen;
}

function mergePair(parts: readonly string[], [left, right]: [string, string]): readonly string[] {
  if (!parts.includes(left)) return parts;
  const merged: string[] = [];
  for (let i = 0; i < parts.length; i++) {
    if (parts[i] === left && parts[i + 1] === right) {
      merged.push(left + right);
      i++;
    } else merged.push(parts[i]!);
  }
  return merged;
}

/** A unigram model: its pieces also span words, and spaces stand as U+2581. */
export function trainUnigram(text: string, markers: readonly string[]): object {
  const chars = Array.from(text.replaceAll(" ", "\u2581"));
  const counts = new Map<string, number>();
  for (let from = 0; from < chars.length; from++) {
    let piece = "";
    for (let length = 0; length < PIECE_CHARS_MAX && from + length < chars.length; length++) {
      piece += chars[from + length]!;
      counts.set(piece, (counts.get(piece) ?? 0) + 1);
    }
  }
  const ranked = [...counts]
    .filter(([piece, count]) => Array.from(piece).length > 1 && count > 3)
    .sort((a, b) => b[1] * b[0].length - a[1] * a[0].length)
    .slice(0, PIECES);
  const vocab: [string, number][] = [["<unk>", 0]];
  for (let byte = 0; byte < 256; byte++) {
    vocab.push([`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`, -30]);
  }
  for (const char of new Set(chars))
    vocab.push([char, Math.log((counts.get(char) ?? 1) / chars.length)]);
  for (const [piece, count] of ranked) vocab.push([piece, Math.log(count / chars.length)]);
  return {
    version: "1.0",
    added_tokens: addedTokens(markers, vocab.length),
    normalizer: { type: "Replace", pattern: { String: " " }, content: "\u2581" },
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    model: { type: "Unigram", unk_id: 0, vocab, byte_fallback: true },
  };
}
