// What filters and scorers said, for those that could not say it again; see replay.ts for which.

import type { SchedulerConfig } from "../config/scheduler-config.ts";
import type { Filter, PickContext, PluginInstance, Scorer } from "../plugin.ts";
import type { PluginSubstitution } from "../plugins.ts";
import type { ReplayableAttempt, ReplayableCandidate } from "./replay-document.ts";

/** Of one attempt; and notes about what the record cannot know. */
export class RecordedAnswers {
  readonly #attempt: ReplayableAttempt;
  readonly #other: SchedulerConfig | undefined;
  readonly #bySlot = new Map<number, ReplayableCandidate>();
  readonly #isPartial: boolean;
  readonly #notes = new Set<string>();

  constructor(attempt: ReplayableAttempt, other: SchedulerConfig | undefined) {
    this.#attempt = attempt;
    this.#other = other;
    this.#isPartial = attempt.candidateCount > attempt.candidates.length;
    for (const candidate of attempt.candidates) this.#bySlot.set(candidate.slot, candidate);
    for (const name of attempt.absentColumns)
      this.#note(`The document does not say ${name} of the endpoints: it is taken as 0.`);
    if (this.#isPartial) this.#notePartial();
  }

  notes(): string[] {
    return [...this.#notes];
  }

  /** What EndpointPicker asks for each plugin. */
  readonly substitute: PluginSubstitution = (name, plugin, kinds) => {
    let answering: PluginInstance = plugin;
    if (kinds.includes("filter")) answering = this.#filter(name, plugin as Filter);
    if (kinds.includes("scorer")) answering = this.#scorer(name, plugin as Scorer);
    return answering;
  };

  #filter(type: string, plugin: Filter): Filter {
    if (!this.#isPartial || this.#other !== undefined) return plugin;
    return {
      filter: (context) => keepSlots(context, (slot) => this.#bySlot.get(slot)!.removedBy !== type),
    };
  }

  #scorer(type: string, plugin: Scorer): Scorer {
    const isLearning = plugin.onPicked !== undefined;
    const isRecorded = this.#attempt.scorers.some((scorer) => scorer.type === type);
    if (isLearning && !isRecorded) {
      this.#note(
        `${type} learns from picks, and the record has no answer of it: what it remembered is not ` +
          "known, and it answers as if it remembered nothing.",
      );
      return plugin;
    }
    if (isLearning && this.#other !== undefined) {
      this.#note(
        `${type} learns from picks and answers as recorded: what it would remember after other ` +
          "picks is not known.",
      );
    }
    if (isLearning || (this.#isPartial && this.#isUnchanged(type)))
      return { score: (context, out) => this.#score(type, context, out) };
    return plugin;
  }

  /** Whether a scorer has the parameters that it was recorded with. */
  #isUnchanged(type: string): boolean {
    if (this.#other === undefined) return true;
    const paramsIn = (config: SchedulerConfig) =>
      config.plugins.find(({ name }) => name === type)?.parameters;
    return (
      JSON.stringify(paramsIn(this.#other)) === JSON.stringify(paramsIn(this.#attempt.scheduler))
    );
  }

  #score(type: string, { candidates, candidateCount }: PickContext, out: Float64Array): void {
    let unknown = 0;
    for (let i = 0; i < candidateCount; i++) {
      const score = this.#bySlot.get(candidates[i]!)!.scores[type] ?? null;
      if (score === null) unknown++;
      out[i] = score ?? 0;
    }
    if (unknown > 0)
      this.#note(`${type} has no answer on record for ${unknown} candidates, which count as 0.`);
  }

  #notePartial(): void {
    const { candidates, candidateCount } = this.#attempt;
    this.#note(
      `The record has ${candidates.length} of ${candidateCount} candidates: the chosen, then the ` +
        "best totals.",
    );
    this.#note(
      this.#other === undefined
        ? "What filters and scorers said of them is taken from it, and the picker chose again."
        : "Another configuration might have chosen one that is not in it, and a scorer that compares " +
            "candidates compares only these.",
    );
  }

  #note(sentence: string): void {
    this.#notes.add(sentence);
  }
}

function keepSlots(
  { candidates, candidateCount }: PickContext,
  isKept: (slot: number) => boolean,
): number {
  let kept = 0;
  for (let i = 0; i < candidateCount; i++) {
    const slot = candidates[i]!;
    if (isKept(slot)) candidates[kept++] = slot;
  }
  return kept;
}
