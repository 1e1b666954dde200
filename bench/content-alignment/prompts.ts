// One request as the edge sees it and as an engine does: the canonical prompt's bytes and keys beside
// the tokens of the rendered prompt.

import { Template } from "@huggingface/jinja";
import { Tokenizer } from "@huggingface/tokenizers";
import {
  CONTENT_BLOCK_BYTES,
  type ContentKeys,
  createContentKeys,
} from "../../src/scheduler/kv/content-keys.ts";
import type { RenderedPrompt } from "../../src/scheduler/kv/residency/content-alignment.ts";
import { writeChatPrompt } from "../../src/scheduler/kv/canonical/canonical-prompt.ts";
import { sha256Hex } from "../../src/worker/crypto.ts";
import { feedPrompt } from "../../src/worker/openai/feed-prompt.ts";
import { parseChatRequest } from "../../src/worker/openai/schemas.ts";
import type { Conversation } from "./conversations.ts";
import type { ChatTemplate } from "./templates.ts";
import { BYTE_LETTERS } from "./vocabulary.ts";

/** Tokens that an engine makes of an image, in place of its marker. */
const IMAGE_TOKENS = 300;
const IMAGE_MARKER = "<|image|>";

export interface SeenPrompt {
  readonly canonical: Uint8Array;
  /** Two words a content block. */
  readonly keys: Uint32Array;
  readonly tokens: Uint32Array;
  readonly rendered: RenderedPrompt;
}

const encoder = new TextEncoder();
const LETTER_BYTES = new Map(BYTE_LETTERS.map((letter, byte) => [letter, byte]));

/** A model's tokenizer and template. */
export class Model {
  readonly #tokenizer: Tokenizer;
  readonly #template: Template;
  readonly #isByteLevel: boolean;
  readonly #added: ReadonlySet<string>;
  /** Each token's bytes, as they were first seen. */
  readonly #bytes = new Map<number, Uint8Array>();

  constructor(tokenizer: object, template: ChatTemplate) {
    this.#tokenizer = new Tokenizer(tokenizer, {});
    this.#template = new Template(template.source);
    const text = JSON.stringify({ ...tokenizer, model: null });
    this.#isByteLevel = text.includes("ByteLevel");
    const { added_tokens: added } = tokenizer as { added_tokens: { content: string }[] };
    this.#added = new Set(added.map(({ content }) => content));
  }

  async see(conversation: Conversation): Promise<SeenPrompt> {
    const request = parseChatRequest(conversation);
    if (!request.ok) throw new Error("the conversation is not a request");
    const bytes: Uint8Array[] = [];
    const recorder: ContentKeys = {
      update: (part) => void bytes.push(part.slice()),
      keys: () => new Uint32Array(),
      byteCount: 0,
    };
    await writeChatPrompt(request.value, (piece) => feedPrompt(recorder, piece), sha256Hex);
    const canonical = concat(bytes);
    const keys = createContentKeys({ model: conversation.model });
    keys.update(canonical);
    const text = this.#template.render({
      ...conversation,
      add_generation_prompt: true,
      date: "21 Nov 2026",
    });
    const { ids, tokens } = this.#tokenizer.encode(text, { add_special_tokens: false });
    return { canonical, keys: keys.keys(), ...this.#render(ids, tokens, images(conversation)) };
  }

  #render(ids: readonly number[], names: readonly string[], images: readonly string[]) {
    const tokens: number[] = [];
    let image = 0;
    const parts: Uint8Array[] = [];
    for (const [i, id] of ids.entries()) {
      const part = this.#bytesOf(id, names[i]!);
      const isImage = names[i] === IMAGE_MARKER;
      // Engines hash an image's identity beside its tokens: here it stands in their ids.
      const token = isImage ? imageToken(images[image++]!) : id;
      for (let k = isImage ? IMAGE_TOKENS : 1; k > 0; k--) {
        tokens.push(token);
        parts.push(part);
      }
    }
    const tokenEnds = new Uint32Array(parts.length);
    let end = 0;
    for (const [i, part] of parts.entries()) tokenEnds[i] = end += part.length;
    return { tokens: Uint32Array.from(tokens), rendered: { text: concat(parts), tokenEnds } };
  }

  /** What a token stands for, from the name that an engine's /tokenize gives it. */
  #bytesOf(id: number, name: string): Uint8Array {
    let bytes = this.#bytes.get(id);
    if (bytes === undefined) {
      bytes = this.#decodeName(name);
      this.#bytes.set(id, bytes);
    }
    return bytes;
  }

  #decodeName(name: string): Uint8Array {
    const byte = /^<0x([0-9A-F]{2})>$/u.exec(name);
    if (byte !== null) return Uint8Array.of(Number.parseInt(byte[1]!, 16));
    // Runs of spaces are added tokens of some models: there, too, U+2581 stands for a space.
    if (!this.#isByteLevel) return encoder.encode(name.replaceAll("\u2581", " "));
    if (this.#added.has(name)) return encoder.encode(name);
    return concat(
      Array.from(name, (char) => {
        const value = LETTER_BYTES.get(char);
        return value === undefined ? encoder.encode(char) : Uint8Array.of(value);
      }),
    );
  }
}

function images({ messages }: Conversation): string[] {
  return messages
    .flatMap(({ content }) => (typeof content === "string" ? [] : (content ?? [])))
    .flatMap((part) => (part.type === "image_url" ? [part.image_url.url] : []));
}

function imageToken(url: string): number {
  const keys = createContentKeys({ model: url });
  keys.update(new Uint8Array(CONTENT_BLOCK_BYTES));
  return keys.keys()[0]!;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
