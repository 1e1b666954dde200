// Carries one completion through the engine: from an understood request to a written answer.

import type { ServerResponse } from "node:http";
import { createRng, type Rng } from "../../scheduler/support/rng.ts";
import { StreamSource, usageOf, WholeSource, type ChoiceProgress } from "./answer-source.ts";
import { AnswerWriter, type AnswerInjection } from "./answer-writer.ts";
import { chatShape, textShape, type Choice } from "./answers.ts";
import type { Leg } from "./disaggregation/legs.ts";
import type { EngineRunner, SequenceConsumer, Submission } from "./engine-runner.ts";
import { badRequest, queueFull, type EngineError } from "./errors.ts";
import type { JournalEntry } from "./request-journal.ts";
import type { Sequence } from "./model/sequence.ts";
import { generateOutput, type OutputMode, type OutputRequest } from "./model/output.ts";
import { tokenIds } from "./model/tokenizer.ts";
import type { GenerationRequest } from "./request-schema.ts";
import { generateCall } from "./tool-call.ts";

/** The engine a generation runs on. */
export interface GenerationHost {
  readonly runner: EngineRunner;
  readonly mode: OutputMode;
  readonly model: string;
  /** Adapters, which a request may name as its model. */
  readonly loras: readonly string[];
  /** Seeds the outputs of requests that bring no seed. */
  readonly rng: Rng;
  /** Share of a prompt that must be cached, of requests that say nothing of it; 0 for none. */
  readonly cacheHitThreshold: number;
}

/** Where an answer goes. */
export interface GenerationTarget {
  readonly response: ServerResponse;
  readonly entry: JournalEntry;
  readonly injection: AnswerInjection | undefined;
  /** Where another engine does a part of it, begun. It concerns the first choice. */
  readonly leg: Leg | undefined;
  /** Further members of an answer that is no stream. */
  readonly extras: object;
}

/**
 * Starts generating and answering. An error is what the request is refused with; nothing was
 * written then. When the client leaves, its sequences are taken out at once.
 */
export function startGeneration(
  host: GenerationHost,
  request: GenerationRequest,
  target: GenerationTarget,
): EngineError | undefined {
  const { runner } = host;
  const lengthError = checkLength(request, runner.engine.config.modelLengthMax);
  if (lengthError !== undefined) return lengthError;
  const answer = new Answer(host, request, target);
  const sequences = runner.submit(answer.submissions());
  if (sequences === undefined) return queueFull();
  runner.metrics.requested(request.choicesPerPrompt, request.limit);
  answer.begin(sequences);
  return undefined;
}

/** One request's choices on their way. */
class Answer {
  readonly #host: GenerationHost;
  readonly #request: GenerationRequest;
  readonly #target: GenerationTarget;
  readonly #choices: readonly Choice[];
  #progress: readonly ChoiceProgress[] = [];
  /** There from `begin` on: tokens come later than the sequences that are submitted. */
  #writer: AnswerWriter | undefined;
  /** What the answer says for a decoder, once the prompt is computed. */
  #handOff: object = {};

  constructor(host: GenerationHost, request: GenerationRequest, target: GenerationTarget) {
    this.#host = host;
    this.#request = request;
    this.#target = target;
    this.#choices = createChoices(host, request);
  }

  submissions(): Submission[] {
    const { leg } = this.#target;
    return this.#choices.map((choice, i): Submission => {
      const sequenceLeg = i === 0 ? leg : undefined;
      return {
        request: { ...sequenceRequest(choice, this.#request, this.#host), ...sequenceLeg?.content },
        consumer: this.#consumer(choice, i, sequenceLeg),
      };
    });
  }

  #consumer(choice: Choice, index: number, leg: Leg | undefined): SequenceConsumer {
    return {
      finishReason: choice.finishReason === "length" ? "length" : "stop",
      token: (sequence) => {
        const isLast = sequence.generatedCount === sequence.outputCount;
        if (isLast && leg !== undefined) this.#handOff = leg.computed(sequence);
        this.#writer?.pump();
      },
      failed: ({ failure }) => {
        if (failure === "kv-load" && leg !== undefined) this.#writer?.fail(leg.failure);
        else this.#cutShort(index);
      },
      transfer: (sequence, tokenCount) => leg?.transfer(sequence, tokenCount),
      expired: () => leg?.expired(),
    };
  }

  /** Too little of the prompt is cached: the answer is empty, and says so. */
  #cutShort(index: number): void {
    const progress = this.#progress[index]!;
    progress.choice = { ...progress.choice, output: [], finishReason: "cache_threshold" };
    this.#writer?.pump();
  }

  begin(sequences: readonly Sequence[]): void {
    const { response, entry, injection } = this.#target;
    this.#progress = this.#choices.map((choice, i): ChoiceProgress => {
      const isFirstOfPrompt = i % this.#request.choicesPerPrompt === 0;
      return { choice, sequence: sequences[i]!, isFirstOfPrompt };
    });
    response.on("close", () => {
      for (const sequence of sequences) this.#host.runner.abort(sequence);
      Object.assign(entry, usageFields(this.#progress));
      entry.receivedTokens = sequences[0]!.receivedCount;
      entry.outcome = response.writableFinished ? "finished" : "aborted";
    });
    const extras = () => ({ ...this.#target.extras, ...this.#handOff });
    const source = createSource(this.#host, this.#request, this.#progress, { entry, extras });
    this.#writer = new AnswerWriter(response, source, injection);
  }
}

function checkLength(request: GenerationRequest, lengthMax: number): EngineError | undefined {
  for (const { tokens } of request.prompts) {
    if (tokens.length + (request.limit ?? 1) <= lengthMax) continue;
    if (tokens.length + 1 > lengthMax) {
      return badRequest(
        `This model's maximum context length is ${lengthMax} tokens. However, your request has ` +
          `${tokens.length} input tokens. Please reduce the length of the input messages.`,
        request.api === "chat" ? "messages" : "prompt",
      );
    }
    return badRequest(
      `'max_tokens' or 'max_completion_tokens' is too large: ${request.limit}. This model's ` +
        `maximum context length is ${lengthMax} tokens and your request has ${tokens.length} ` +
        `input tokens (${request.limit} > ${lengthMax} - ${tokens.length}).`,
      "max_tokens",
    );
  }
  return undefined;
}

function createChoices(host: GenerationHost, request: GenerationRequest): Choice[] {
  const choices: Choice[] = [];
  for (const { tokens, items, echo } of request.prompts) {
    for (let n = 0; n < request.choicesPerPrompt; n++) {
      const index = choices.length;
      const seed = request.seed ?? Math.floor(host.rng() * 4_294_967_296);
      const wanted: OutputRequest = {
        mode: host.mode,
        echo,
        limit: request.limit,
        roomCount: host.runner.engine.config.modelLengthMax - tokens.length,
        isEosIgnored: request.isEosIgnored,
      };
      const generated = generateFor(request, wanted, createRng(seed + index));
      choices.push({ index, promptTokens: tokens, items, ...generated });
    }
  }
  return choices;
}

function generateFor(
  { tool }: GenerationRequest,
  wanted: OutputRequest,
  rng: Rng,
): Pick<Choice, "output" | "finishReason" | "toolCall"> {
  if (tool === undefined) {
    const { tokens: output, finishReason } = generateOutput(wanted, rng);
    return { output, finishReason };
  }
  const { tokens: output, toolCall } = generateCall(tool, wanted, rng);
  return { output, finishReason: "tool_calls", toolCall };
}

function sequenceRequest(
  choice: Choice,
  request: GenerationRequest,
  { loras, cacheHitThreshold: ofEngine }: GenerationHost,
): Submission["request"] {
  const cacheHitThreshold = request.cacheHitThreshold ?? ofEngine;
  return {
    ...(cacheHitThreshold > 0 ? { cacheHitThreshold } : {}),
    promptTokenIds: tokenIds(choice.promptTokens),
    outputTokenIds: tokenIds(choice.output),
    items: choice.items,
    ...(request.cacheSalt === undefined ? {} : { cacheSalt: request.cacheSalt }),
    ...(loras.includes(request.model) ? { lora: request.model } : {}),
  };
}

function createSource(
  host: GenerationHost,
  request: GenerationRequest,
  choices: readonly ChoiceProgress[],
  { entry, extras }: { readonly entry: JournalEntry; readonly extras: () => object },
) {
  const plan = {
    head: {
      requestId: entry.requestId,
      created: Math.floor(entry.receivedAtMs / 1_000),
      model: host.loras.includes(request.model) ? request.model : host.model,
      areTokenIdsReturned: request.areTokenIdsReturned,
    },
    shape: request.api === "chat" ? chatShape : textShape,
    choices,
    extras,
    isUsageIncluded: request.isUsageIncluded,
    isUsageContinuous: request.isUsageContinuous,
  };
  return request.isStream ? new StreamSource(plan) : new WholeSource(plan);
}

function usageFields(choices: readonly ChoiceProgress[]) {
  const { promptTokens, cachedTokens, completionTokens } = usageOf(choices);
  return { promptTokens, cachedTokens, outputTokens: completionTokens };
}
