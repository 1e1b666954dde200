// The one tokenizer of an isolate: a vocabulary takes half of its memory.
//
//   none ──first request──► loading ──► ready ──not asked for IDLE_MS, by another pool's request──► none
//                              └──► failed, for RETRY_MS
//
// It is read on the first request's account, and no request waits for it: those that come meanwhile go on
// without keys. What is kept is data; a promise would end with the request that made it.

import type { EdgePrefixKeys } from "../../config/prefix-keys.ts";
import { withDeadline } from "../shared-copy.ts";
import { FILE_MS_MAX, type FileBindings, readModelFile, TokenizerError } from "./model-files.ts";
import type { EdgeModel } from "./model-library.ts";
import type { Tokenized } from "./outcomes.ts";

export const EDGE_TOKENIZER_LIMITS = {
  /** Of tokenizer.json. */
  tokenizerBytesMax: 12 * 1024 * 1024,
  /** Of tokenizer_config.json, and of a chat template. */
  configBytesMax: 1024 * 1024,
} as const;
/** After that another request reads it: the one that began may have been ended. */
const LOADING_MS = 2 * FILE_MS_MAX;
export const RETRY_MS = 60_000;
/** A tokenizer that nobody has asked for so long gives way to another pool's. */
export const IDLE_MS = 300_000;

/** Which files a model is made of. */
export type ModelSource = Pick<EdgePrefixKeys, "tokenizer" | "tokenizerConfig" | "chatTemplate">;

interface Held {
  /** Of its source. */
  readonly name: string;
  model: EdgeModel | undefined;
  /** Without a model: until then nobody tries to read it. */
  notBeforeMs: number;
  isLoading: boolean;
  askedAtMs: number;
}

export interface EdgeTokenizerOptions {
  /** Milliseconds. */
  readonly clock: () => number;
  /** Is told why a tokenizer is not used. */
  readonly complain: (source: ModelSource, why: string) => void;
}

export class EdgeTokenizer {
  readonly #options: EdgeTokenizerOptions;
  #held: Held | undefined;

  constructor(options: EdgeTokenizerOptions) {
    this.#options = options;
  }

  /** The model, or why there is none. `hold` keeps the request's context alive while it is read. */
  model(
    source: ModelSource,
    bindings: FileBindings,
    hold: (work: Promise<void>) => void,
  ): { readonly ok: true; readonly model: EdgeModel } | Extract<Tokenized, { ok: false }> {
    const nowMs = this.#options.clock();
    const held = this.#take(nameOf(source), nowMs);
    if (held === undefined) return { ok: false, reason: "occupied" };
    held.askedAtMs = nowMs;
    if (held.model !== undefined) return { ok: true, model: held.model };
    if (nowMs < held.notBeforeMs) {
      return { ok: false, reason: held.isLoading ? "loading" : "no-tokenizer" };
    }
    held.isLoading = true;
    held.notBeforeMs = nowMs + LOADING_MS;
    hold(this.#load(held, source, bindings));
    return { ok: false, reason: "loading" };
  }

  /** Undefined while another pool's has the isolate. */
  #take(name: string, nowMs: number): Held | undefined {
    const held = this.#held;
    if (held?.name === name) return held;
    if (held !== undefined && nowMs - held.askedAtMs < IDLE_MS) return undefined;
    const taken = { name, model: undefined, notBeforeMs: 0, isLoading: false, askedAtMs: nowMs };
    this.#held = taken;
    return taken;
  }

  /** Never rejects. */
  async #load(held: Held, source: ModelSource, bindings: FileBindings): Promise<void> {
    const begunMs = held.notBeforeMs;
    let model: EdgeModel | undefined;
    try {
      model = await withDeadline(readModel(source, bindings), LOADING_MS);
    } catch (error) {
      const why = error instanceof TokenizerError ? error.message : "it could not be read in time";
      this.#options.complain(source, why);
    }
    // Another request may have begun anew meanwhile.
    if (held.notBeforeMs !== begunMs) return;
    held.isLoading = false;
    held.model = model;
    if (model === undefined) held.notBeforeMs = this.#options.clock() + RETRY_MS;
  }
}

async function readModel(source: ModelSource, bindings: FileBindings): Promise<EdgeModel> {
  const { tokenizerBytesMax, configBytesMax } = EDGE_TOKENIZER_LIMITS;
  const small = (location: string | undefined) =>
    location === undefined ? undefined : readModelFile(location, configBytesMax, bindings);
  const [tokenizer, config, template] = await Promise.all([
    readModelFile(source.tokenizer, tokenizerBytesMax, bindings),
    small(source.tokenizerConfig),
    small(source.chatTemplate),
  ]);
  const { createModel } = await import("./model-library.ts");
  return createModel({ tokenizer, config, template });
}

function nameOf({ tokenizer, tokenizerConfig, chatTemplate }: ModelSource): string {
  return JSON.stringify([tokenizer, tokenizerConfig, chatTemplate]);
}
