// Token block keys: what the router calls a block of an engine's cache.
//
//   tokens   │ t0 … t15 │ t16 … t31 │        k(n) = finalize(state(n)),  state(0) = H(adapter)
//   keys             k(16)       k(32)        state(n) = mix(state(n-1), t(n-1))
//
// A key names all tokens up to the block's end, and what else went into the engine's hash: the LoRA
// adapter at the start of the chain; salts and embeddings' digests at the start of the blocks that name
// them; a media item once, before its first token. How text is cut into blocks does not enter, so a tier
// that stores several blocks as one gives that one the key of its last, and engines with unlike block
// sizes share keys. The base model does not enter either: a pool serves one. Two 32-bit lanes, as in
// content-keys.ts.
//
// Engines that name media without their place (vLLM up to 0.18) repeat them at each block: these enter where
// the block begins, and blocks from there on match nothing that a prompt taught.
//
// llm-d's router hashes the model's name and adds the adapter's on the events' side only, where engines
// repeat it among the extra keys; requests with adapters then match nothing. Here it enters once.

import type { KvExtraKey } from "./kv-event.ts";

/** Stand where a token id would, and are none: ids of vocabularies are far below. */
const TEXT_MARK = 0xffff_fff0;
const DIGEST_MARK = 0xffff_fff1;
const FNV_PRIME = 0x01000193;

function finalize(hash: number): number {
  let h = hash;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * A running computation over one chain. Its state is two words, from which it can be resumed; states
 * are no keys, and keys no states.
 */
export class TokenKeyChain {
  stateLow = 0;
  stateHigh = 0;

  /** At the start of a prompt. `adapter` is null for the base model. */
  begin(adapter: string | null): void {
    let low = 0x811c9dc5;
    let high = 0x9747b28c;
    for (let at = 0; adapter !== null && at < adapter.length; at++) {
      low = Math.imul(low ^ adapter.charCodeAt(at), FNV_PRIME);
      high = Math.imul(high ^ adapter.charCodeAt(at), FNV_PRIME);
    }
    // An adapter without a name would otherwise be the base model.
    const length = adapter === null ? 0 : adapter.length + 1;
    this.stateLow = finalize(low ^ length) | 0;
    this.stateHigh = finalize(high ^ length) | 0;
  }

  resume(stateLow: number, stateHigh: number): void {
    this.stateLow = stateLow | 0;
    this.stateHigh = stateHigh | 0;
  }

  /** One block with what else its hash depends on, in the engine's order. */
  // Hot path: residency in bench/.
  addBlock(
    tokens: Uint32Array,
    from: number,
    to: number,
    extras: readonly KvExtraKey[] | undefined,
  ): void {
    if (extras === undefined || extras.length === 0) this.#addTokens(tokens, from, to);
    else this.#addExtras(tokens, from, to, extras);
  }

  #addExtras(tokens: Uint32Array, from: number, to: number, extras: readonly KvExtraKey[]): void {
    for (const extra of extras) {
      if (extra.kind === "text") this.#mixText(extra.text);
      if (extra.kind !== "digest") continue;
      this.#mix(DIGEST_MARK);
      this.#mix(extra.bytes.length);
      for (const byte of extra.bytes) this.#mix(byte);
    }
    let at = from;
    for (const extra of extras) {
      // What began in an earlier block has entered there.
      if (extra.kind !== "media" || extra.offset < 0) continue;
      const start = Math.min(Math.max(at, from + extra.offset), to);
      this.#addTokens(tokens, at, start);
      this.#mixText(extra.identifier);
      at = start;
    }
    this.#addTokens(tokens, at, to);
  }

  #addTokens(tokens: Uint32Array, from: number, to: number): void {
    let low = this.stateLow;
    let high = this.stateHigh;
    for (let at = from; at < to; at++) {
      const word = tokens[at]! | 0;
      let k = Math.imul(word, 0xcc9e2d51);
      k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
      low ^= k;
      low = (Math.imul((low << 13) | (low >>> 19), 5) + 0xe6546b64) | 0;
      k = Math.imul(word, 0x239b961b);
      k = Math.imul((k << 16) | (k >>> 16), 0xab0e9789);
      high ^= k;
      high = (Math.imul((high << 17) | (high >>> 15), 5) + 0x561ccd1b + low) | 0;
    }
    this.stateLow = low;
    this.stateHigh = high;
  }

  #mixText(text: string): void {
    this.#mix(TEXT_MARK);
    this.#mix(text.length);
    for (let at = 0; at < text.length; at++) this.#mix(text.charCodeAt(at));
  }

  #mix(word: number): void {
    ONE_WORD[0] = word;
    this.#addTokens(ONE_WORD, 0, 1);
  }
}

const ONE_WORD = new Uint32Array(1);

/** The key of a state, in two halves. */
export function keyLow(stateLow: number): number {
  return finalize(stateLow);
}

export function keyHigh(stateLow: number, stateHigh: number): number {
  return finalize(stateHigh ^ finalize(stateLow));
}

/** A prompt whose tokens are known. */
export interface TokenizedPrompt {
  readonly adapter: string | null;
  readonly tokens: Uint32Array;
  /** Of the engine. */
  readonly blockSize: number;
  /** By block, as engines announce them; blocks past its end have none. */
  readonly extraKeys: readonly (readonly KvExtraKey[])[];
}

/** Keys of a prompt's full blocks, two words each. */
export function tokenBlockKeys(prompt: TokenizedPrompt): Uint32Array {
  const { tokens, blockSize, extraKeys } = prompt;
  const chain = new TokenKeyChain();
  chain.begin(prompt.adapter);
  const keys = new Uint32Array(Math.floor(tokens.length / blockSize) * 2);
  for (let i = 0; i * 2 < keys.length; i++) {
    chain.addBlock(tokens, i * blockSize, (i + 1) * blockSize, extraKeys[i]);
    keys[i * 2] = keyLow(chain.stateLow);
    keys[i * 2 + 1] = keyHigh(chain.stateLow, chain.stateHigh);
  }
  return keys;
}
