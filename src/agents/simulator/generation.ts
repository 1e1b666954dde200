// Carries one completion through the engine: from an understood request to a written answer.

import type { ServerResponse } from "node:http";
import { createRng, type Rng } from "../../scheduler/support/rng.ts";
import { StreamSource, usageOf, WholeSource, type ChoiceProgress } from "./answer-source.ts";
import { AnswerWriter, type AnswerInjection } from "./answer-writer.ts";
import { chatShape, textShape, type Choice } from "./answers.ts";
import type { EngineRunner, SequenceConsumer, Submission } from "./engine-runner.ts";
import { badRequest, queueFull, type EngineError } from "./errors.ts";
import type { JournalEntry } from "./request-journal.ts";
import { generateOutput, type OutputMode } from "./model/output.ts";
import { tokenIds } from "./model/tokenizer.ts";
import type { GenerationRequest } from "./request-schema.ts";

/** The engine a generation runs on. */
export interface GenerationHost {
  readonly runner: EngineRunner;
  readonly mode: OutputMode;
  readonly model: string;
  /** Adapters, which a request may name as its model. */
  readonly loras: readonly string[];
  /** Seeds the outputs of requests that bring no seed. */
  readonly rng: Rng;
}

/** Where an answer goes. */
export interface GenerationTarget {
  readonly response: ServerResponse;
  readonly entry: JournalEntry;
  readonly injection: AnswerInjection | undefined;
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
  const choices = createChoices(host, request);
  // Assigned below: tokens come later than the sequences that are submitted here.
  let writer: AnswerWriter | undefined;
  const submissions = choices.map((choice): Submission => {
    const consumer: SequenceConsumer = {
      finishReason: choice.finishReason,
      token: () => writer?.pump(),
    };
    return { request: sequenceRequest(choice, request, host.loras), consumer };
  });
  const sequences = runner.submit(submissions);
  if (sequences === undefined) return queueFull();
  runner.metrics.requested(request.choicesPerPrompt, request.limit);
  const progress = choices.map((choice, i): ChoiceProgress => {
    const isFirstOfPrompt = i % request.choicesPerPrompt === 0;
    return { choice, sequence: sequences[i]!, isFirstOfPrompt };
  });
  const { response, entry } = target;
  response.on("close", () => {
    for (const sequence of sequences) runner.abort(sequence);
    Object.assign(entry, usageFields(progress));
    entry.outcome = response.writableFinished ? "finished" : "aborted";
  });
  writer = new AnswerWriter(
    response,
    createSource(host, request, progress, entry),
    target.injection,
  );
  return undefined;
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
      const output = generateOutput(
        {
          mode: host.mode,
          echo,
          limit: request.limit,
          roomCount: host.runner.engine.config.modelLengthMax - tokens.length,
          isEosIgnored: request.isEosIgnored,
        },
        createRng(seed + index),
      );
      const { finishReason } = output;
      choices.push({
        index,
        promptTokens: tokens,
        items,
        output: output.tokens,
        finishReason,
      });
    }
  }
  return choices;
}

function sequenceRequest(
  choice: Choice,
  request: GenerationRequest,
  loras: readonly string[],
): Submission["request"] {
  return {
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
  entry: JournalEntry,
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
    isUsageIncluded: request.isUsageIncluded,
    isUsageContinuous: request.isUsageContinuous,
  };
  return request.isStream ? new StreamSource(plan) : new WholeSource(plan);
}

function usageFields(choices: readonly ChoiceProgress[]) {
  const { promptTokens, cachedTokens, completionTokens } = usageOf(choices);
  return { promptTokens, cachedTokens, outputTokens: completionTokens };
}
