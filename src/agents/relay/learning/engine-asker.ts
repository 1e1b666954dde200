// Asks engines what a prompt's tokens are. Beside the requests they serve, never instead: one at a time for an
// engine, with connections of its own.

import { Agent } from "undici";
import { z } from "zod";

const ASK_MS_MAX = 10_000;
/** Tokens with their names; half a million of both take less. */
const ANSWER_BYTES_MAX = 32 * 1024 * 1024;
/** How long an engine's list of models is believed: adapters are loaded while it runs. */
const MODELS_MS = 60_000;
/** Engines whose list is kept; past it all are forgotten. */
const MODEL_LISTS_MAX = 1_024;

const tokensSchema = z.object({
  tokens: z.array(z.int().min(0).max(0xffff_ffff)),
  token_strs: z.array(z.string()).nullish(),
});
const modelsSchema = z.object({
  data: z.array(z.object({ id: z.string(), parent: z.string().nullish() })),
});

export interface NamedTokens {
  readonly ids: readonly number[];
  /** One for each id. */
  readonly names: readonly string[];
}

/** `unsupported`: this engine does not tell, however often it is asked. */
export type Asked<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly why: "failed" | "unsupported" };

export class EngineAsker {
  readonly #agent = new Agent({ connections: 1, maxResponseSize: ANSWER_BYTES_MAX });
  readonly #clock: () => number;
  readonly #adapters = new Map<string, { readonly names: Set<string>; readonly untilMs: number }>();

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  async tokens(
    address: string,
    body: Readonly<Record<string, unknown>>,
  ): Promise<Asked<NamedTokens>> {
    const answer = await this.#ask(address, "/tokenize", JSON.stringify(body));
    if (!answer.ok) return answer;
    const parsed = tokensSchema.safeParse(answer.value);
    if (!parsed.success) return { ok: false, why: "unsupported" };
    const { tokens: ids, token_strs: names } = parsed.data;
    if (names?.length !== ids.length) return { ok: false, why: "unsupported" };
    return { ok: true, value: { ids, names } };
  }

  /** Whether the model is a LoRA adapter of another, whose name enters the engine's block hashes. */
  async isAdapter(address: string, model: string): Promise<Asked<boolean>> {
    let known = this.#adapters.get(address);
    if (known === undefined || known.untilMs <= this.#clock()) {
      const answer = await this.#ask(address, "/v1/models");
      if (!answer.ok) return answer;
      const parsed = modelsSchema.safeParse(answer.value);
      if (!parsed.success) return { ok: false, why: "unsupported" };
      const names = new Set(
        parsed.data.data.flatMap(({ id, parent }) => (typeof parent === "string" ? [id] : [])),
      );
      if (this.#adapters.size >= MODEL_LISTS_MAX) this.#adapters.clear();
      known = { names, untilMs: this.#clock() + MODELS_MS };
      this.#adapters.set(address, known);
    }
    return { ok: true, value: known.names.has(model) };
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  /** A POST where there is a body. Gives the answer's JSON. */
  async #ask(address: string, path: string, body?: string): Promise<Asked<unknown>> {
    try {
      const response = await this.#agent.request({
        origin: `http://${address}`,
        path,
        ...(body === undefined
          ? { method: "GET" }
          : { method: "POST", body, headers: { "content-type": "application/json" } }),
        signal: AbortSignal.timeout(ASK_MS_MAX),
      });
      const { statusCode } = response;
      if (statusCode === 200) return { ok: true, value: await response.body.json() };
      await response.body.dump();
      const isAbsent = statusCode === 404 || statusCode === 405 || statusCode === 501;
      return { ok: false, why: isAbsent ? "unsupported" : "failed" };
    } catch {
      // Away, slow, too long an answer, or no JSON. It names nothing of the prompt, and is counted.
      return { ok: false, why: "failed" };
    }
  }
}
