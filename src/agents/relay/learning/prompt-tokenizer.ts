// A prompt's tokens with their texts, asked of the engine that serves it: ids alone where the texts are known.

import type { RenderedPrompt } from "../../../scheduler/kv/residency/content-alignment.ts";
import type { Asked, EngineAsker } from "./engine-asker.ts";
import type { MediaItem } from "./media-items.ts";
import type { MediaPrompt, ReadPrompt } from "./read-prompt.ts";
import { TokenTexts } from "./token-texts.ts";

/** Models whose tokens' texts are kept; the one used the longest ago goes. */
export const MODELS_MAX = 4;
/** Tokens beside an item that mark it. They stand in no other prompt, so that nothing tells their texts. */
const MARKERS_MAX = 2;

export interface PromptTokens {
  readonly ids: Uint32Array;
  /** Media among them. */
  readonly items: readonly MediaItem[];
  readonly rendered: RenderedPrompt;
}

type Asking = Pick<ReadPrompt, "model" | "canonical">;
type Body = Readonly<Record<string, unknown>>;

export class PromptTokenizer {
  readonly #engines: Pick<EngineAsker, "tokens" | "render">;
  readonly #texts = new Map<string, TokenTexts>();

  constructor(engines: Pick<EngineAsker, "tokens" | "render">) {
    this.#engines = engines;
  }

  /** Of a prompt without media. */
  async tokens(
    origin: string,
    { model, canonical }: Asking,
    body: Body,
  ): Promise<Asked<PromptTokens>> {
    const texts = this.#textsOf(model);
    if (!texts.areNamesWanted) {
      const asked = await this.#engines.tokens(origin, body, false);
      if (!asked.ok) return asked;
      const { ids } = asked.value;
      const rendered = texts.read(ids, canonical);
      if (rendered !== undefined) return { ok: true, value: { ids, items: [], rendered } };
    }
    const asked = await this.#engines.tokens(origin, body, true);
    if (!asked.ok) return asked;
    const { ids, names } = asked.value;
    return { ok: true, value: { ids, items: [], rendered: texts.learn(ids, names, canonical) } };
  }

  /** Of a chat with media. Render endpoints tell no names: these are asked for where one is not known. */
  async rendering(
    origin: string,
    { model, canonical }: Asking,
    media: MediaPrompt,
  ): Promise<Asked<PromptTokens>> {
    const asked = await this.#engines.render(origin, media.whole);
    if (!asked.ok) return asked;
    const { ids, items } = asked.value;
    const isText = new Uint8Array(ids.length).fill(1);
    for (const { offset, length } of items) {
      isText.fill(0, Math.max(0, offset - MARKERS_MAX), offset + length + MARKERS_MAX);
    }
    const texts = this.#textsOf(model);
    let rendered = texts.read(ids, canonical, isText);
    if (rendered === undefined) {
      const text = await this.#engines.tokens(origin, media.text, true);
      if (!text.ok) return text;
      texts.learn(text.value.ids, text.value.names, canonical);
      rendered = texts.read(ids, canonical, isText);
    }
    if (rendered === undefined) return { ok: false, why: "failed" };
    return { ok: true, value: { ids, items, rendered } };
  }

  /** The model's prompts are not found in their tokens' texts: these may be of another tokenizer. */
  forget(model: string): void {
    this.#texts.delete(model);
  }

  #textsOf(model: string): TokenTexts {
    const texts = this.#texts.get(model) ?? new TokenTexts();
    this.#texts.delete(model);
    this.#texts.set(model, texts);
    for (const oldest of this.#texts.keys()) {
      if (this.#texts.size <= MODELS_MAX) break;
      this.#texts.delete(oldest);
    }
    return texts;
  }
}
