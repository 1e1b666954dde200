// Asks engines what a prompt's tokens are. Beside the requests they serve, never instead: a few at a time for
// an engine, with connections of its own. An engine is named by its origin, which says whether it speaks TLS.
//
// Some engines do not say what their prompts' tokens are. A renderer of the same model beside them can be asked in
// their place; which adapters there are the engine itself says.

import { Agent } from "undici";
import { z } from "zod";
import { connectOptions, ENGINE_TLS_DEFAULTS, type EngineTls } from "../engine-tls.ts";
import { featuresSchema, type MediaItem, readItems } from "./media-items.ts";

/** Prompts of one engine that are learned at once: one is read here while others are asked for. */
export const PROMPTS_PER_ENGINE_MAX = 4;
/** Prompts of all engines that are learned at once where one renderer tells of them all. */
export const PROMPTS_PER_RENDERER_MAX = 32;

const ASK_MS_MAX = 10_000;
/** Questions in a row without an answer in time, after which an engine is called slow. */
const TIMEOUTS_MAX = 2;
/** Tokens with their names; half a million of both take less. */
const ANSWER_BYTES_MAX = 32 * 1024 * 1024;
/** How long an engine's list of models is believed: adapters are loaded while it runs. */
const MODELS_MS = 60_000;
/** Engines whose list is kept, or that do not render; past it all are forgotten. */
const ENGINES_MAX = 1_024;
/** After that an engine that does not render is asked again. */
const NO_RENDER_MS = 300_000;

/** Of half a million tokens, each would cost as much to check by a schema as to read. */
const tokensSchema = z.object({
  tokens: z.custom<readonly number[]>(Array.isArray),
  token_strs: z.custom<readonly string[]>(Array.isArray).nullish(),
});
const renderingSchema = z.object({
  token_ids: z.custom<readonly number[]>(Array.isArray),
  features: featuresSchema,
});
const modelsSchema = z.object({
  data: z.array(z.object({ id: z.string(), parent: z.string().nullish() })),
});

export interface NamedTokens {
  readonly ids: Uint32Array;
  /** One for each id; none if they were not asked for. */
  readonly names: readonly string[];
}

export interface RenderedTokens {
  readonly ids: Uint32Array;
  readonly items: readonly MediaItem[];
}

/** What engines are asked. A metric label. */
export type AskedFor = "ids" | "names" | "rendering" | "models";

/** `unsupported`: this engine does not tell, however often it is asked. */
export type Asked<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly why: "failed" | "unsupported" };

export interface AskerOptions {
  /** Absent: as without flags. */
  readonly engineTls?: EngineTls | undefined;
  /** Who tells tokens in the engines' place, if anybody. */
  readonly renderOrigin?: string | undefined;
  /** Who was asked, an engine or the renderer, did not answer in time, several times in a row. */
  readonly onSlow?: (origin: string) => void;
  readonly askMsMax?: number | undefined;
}

/**
 * No question waits for a connection, which would count as the slowness of who is asked: there are as many as prompts
 * may be learned at once, and each prompt asks one question after the other.
 */
export class EngineAsker {
  readonly #engines: Agent;
  readonly #renderer: Agent;
  readonly #clock: () => number;
  readonly #onAsk: (what: AskedFor) => void;
  readonly #noRenderUntilMs = new Map<string, number>();
  readonly #adapters = new Map<string, { readonly names: Set<string>; readonly untilMs: number }>();

  readonly #renderOrigin: string | undefined;
  readonly #onSlow: (origin: string) => void;
  readonly #askMsMax: number;
  /** Questions that had no answer in time since the last that had, by the origin that was asked. */
  readonly #timeouts = new Map<string, number>();

  /** Milliseconds of any origin. `onAsk` is called with each question. */
  constructor(
    clock: () => number,
    onAsk: (what: AskedFor) => void = () => {},
    {
      engineTls = ENGINE_TLS_DEFAULTS,
      onSlow = () => {},
      askMsMax = ASK_MS_MAX,
      renderOrigin,
    }: AskerOptions = {},
  ) {
    const bounds = { allowH2: false, maxResponseSize: ANSWER_BYTES_MAX };
    const connect = connectOptions(engineTls);
    this.#engines = new Agent({ ...bounds, connect, connections: PROMPTS_PER_ENGINE_MAX });
    // Its URL says for itself whether it is TLS.
    this.#renderer = new Agent({ ...bounds, connections: PROMPTS_PER_RENDERER_MAX });
    this.#clock = clock;
    this.#onAsk = onAsk;
    this.#renderOrigin = renderOrigin;
    this.#onSlow = onSlow;
    this.#askMsMax = askMsMax;
  }

  async tokens(
    origin: string,
    body: Readonly<Record<string, unknown>>,
    areNamesWanted: boolean,
  ): Promise<Asked<NamedTokens>> {
    const asked = { ...body, return_token_strs: areNamesWanted };
    this.#onAsk(areNamesWanted ? "names" : "ids");
    const answer = await this.#ask(origin, "/tokenize", JSON.stringify(asked));
    if (!answer.ok) return answer;
    const parsed = tokensSchema.safeParse(answer.value);
    const ids = parsed.success ? parseIds(parsed.data.tokens) : undefined;
    const names = areNamesWanted ? (parsed.data?.token_strs ?? []) : [];
    if (ids === undefined || (areNamesWanted && names.length !== ids.length)) {
      return { ok: false, why: "unsupported" };
    }
    const areNames = names.every((name) => typeof name === "string");
    return areNames ? { ok: true, value: { ids, names } } : { ok: false, why: "unsupported" };
  }

  /** Of a chat's body. Not every engine renders: those that do not are not asked again for a while. */
  async render(
    origin: string,
    body: Readonly<Record<string, unknown>>,
  ): Promise<Asked<RenderedTokens>> {
    if ((this.#noRenderUntilMs.get(origin) ?? -Infinity) > this.#clock()) {
      return { ok: false, why: "unsupported" };
    }
    // The tensors of the media would be many times the rest.
    const asked = JSON.stringify({ ...body, return_mm_kwargs: false });
    this.#onAsk("rendering");
    const answer = await this.#ask(origin, "/v1/chat/completions/render", asked);
    if (!answer.ok) {
      if (answer.why === "unsupported") {
        if (this.#noRenderUntilMs.size >= ENGINES_MAX) this.#noRenderUntilMs.clear();
        this.#noRenderUntilMs.set(origin, this.#clock() + NO_RENDER_MS);
      }
      return answer;
    }
    const parsed = renderingSchema.safeParse(answer.value);
    const ids = parsed.success ? parseIds(parsed.data.token_ids) : undefined;
    const items = ids === undefined ? undefined : readItems(parsed.data?.features, ids.length);
    if (ids === undefined || items === undefined) return { ok: false, why: "failed" };
    return { ok: true, value: { ids, items } };
  }

  /** Whether the model is a LoRA adapter of another, whose name enters the engine's block hashes. */
  async isAdapter(origin: string, model: string): Promise<Asked<boolean>> {
    let known = this.#adapters.get(origin);
    if (known === undefined || known.untilMs <= this.#clock()) {
      this.#onAsk("models");
      const answer = await this.#ask(origin, "/v1/models");
      if (!answer.ok) return answer;
      const parsed = modelsSchema.safeParse(answer.value);
      if (!parsed.success) return { ok: false, why: "unsupported" };
      const names = new Set(
        parsed.data.data.flatMap(({ id, parent }) => (typeof parent === "string" ? [id] : [])),
      );
      if (this.#adapters.size >= ENGINES_MAX) this.#adapters.clear();
      known = { names, untilMs: this.#clock() + MODELS_MS };
      this.#adapters.set(origin, known);
    }
    return { ok: true, value: known.names.has(model) };
  }

  async close(): Promise<void> {
    await Promise.all([this.#engines.destroy(), this.#renderer.destroy()]);
  }

  /** A POST where there is a body, which is a prompt to tokenize. Gives the answer's JSON. */
  async #ask(engine: string, path: string, body?: string): Promise<Asked<unknown>> {
    const renderer = body === undefined ? undefined : this.#renderOrigin;
    const origin = renderer ?? engine;
    const agent = renderer === undefined ? this.#engines : this.#renderer;
    const overdue = AbortSignal.timeout(this.#askMsMax);
    try {
      const response = await agent.request({
        origin,
        path,
        ...(body === undefined
          ? { method: "GET" }
          : { method: "POST", body, headers: { "content-type": "application/json" } }),
        signal: overdue,
      });
      const { statusCode } = response;
      this.#timeouts.delete(origin);
      if (statusCode === 200) return { ok: true, value: await response.body.json() };
      await response.body.dump();
      const isAbsent = statusCode === 404 || statusCode === 405 || statusCode === 501;
      return { ok: false, why: isAbsent ? "unsupported" : "failed" };
    } catch {
      // Away, slow, too long an answer, or no JSON. It names nothing of the prompt, and is counted.
      if (overdue.aborted) this.#timedOut(origin);
      return { ok: false, why: "failed" };
    }
  }

  #timedOut(origin: string): void {
    const timeouts = (this.#timeouts.get(origin) ?? 0) + 1;
    if (this.#timeouts.size >= ENGINES_MAX) this.#timeouts.clear();
    this.#timeouts.set(origin, timeouts);
    if (timeouts >= TIMEOUTS_MAX) this.#onSlow(origin);
  }
}

/** Undefined unless each is a whole number of 32 bits. */
function parseIds(values: readonly unknown[]): Uint32Array | undefined {
  const ids = new Uint32Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (typeof value !== "number") return undefined;
    ids[i] = value;
    // A value that does not fit was changed.
    if (ids[i] !== value) return undefined;
  }
  return ids;
}
