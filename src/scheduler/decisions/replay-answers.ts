// What plugins said, for those that could not say it again; see replay.ts for which.
//
// Every plugin is asked first, so that it draws its random numbers, and its answer is thrown away
// where it cannot be the one of the record.

import type { SchedulerConfig } from "../config/scheduler-config.ts";
import type {
  Admitter,
  Decider,
  Filter,
  PickContext,
  PluginInstance,
  ProfileHandler,
  Scorer,
  Screener,
} from "../plugin.ts";
import type { PluginSubstitution } from "../plugins.ts";
import { RecordedData } from "./replay-data.ts";
import type { ReplayableAttempt, ReplayableCandidate, ReplayableRun } from "./replay-document.ts";
import type { UnknownReads } from "./unknown-reads.ts";

/** Of one attempt; and notes about what the record cannot know. */
export class RecordedAnswers {
  readonly #attempt: ReplayableAttempt;
  readonly #other: SchedulerConfig | undefined;
  readonly #unknown: UnknownReads;
  readonly #data: RecordedData;
  readonly #bySlot = new Map<number, ReplayableCandidate>();
  readonly #runs = new Map<string, ReplayableRun>();
  readonly #isPartial: boolean;
  readonly #notes = new Set<string>();

  constructor(
    attempt: ReplayableAttempt,
    other: SchedulerConfig | undefined,
    unknown: UnknownReads,
  ) {
    this.#attempt = attempt;
    this.#other = other;
    this.#unknown = unknown;
    this.#data = new RecordedData(attempt, other ?? attempt.scheduler, unknown);
    this.#isPartial = attempt.candidateCount > attempt.candidates.length;
    for (const candidate of attempt.candidates) this.#bySlot.set(candidate.slot, candidate);
    for (const run of attempt.runs) this.#runs.set(run.profile, run);
    for (const name of attempt.absentColumns)
      this.#note(`The document does not say ${name} of the endpoints: it is taken as 0.`);
    if (this.#isPartial) this.#notePartial();
  }

  notes(): string[] {
    return [...this.#notes];
  }

  /** What EndpointPicker asks for each plugin. */
  readonly substitute: PluginSubstitution = (name, plugin, kinds) => {
    const parts: PluginInstance[] = [];
    if (kinds.includes("filter")) parts.push(this.#filter(name, plugin as Filter));
    if (kinds.includes("scorer")) parts.push(this.#scorer(name, plugin as Scorer));
    if (kinds.includes("screener")) parts.push(this.#screener(name, plugin as Screener));
    if (kinds.includes("admitter")) parts.push(this.#admitter(name, plugin as Admitter));
    if (kinds.includes("profile-handler"))
      parts.push(this.#handler(name, plugin as ProfileHandler));
    if (kinds.includes("decider")) parts.push(this.#decider(name, plugin as Decider));
    const producer = kinds.includes("data-producer")
      ? this.#data.producer(name, plugin)
      : undefined;
    if (producer !== undefined) parts.push(producer);
    // Pickers have only totals, and what is no part of a decision is never asked.
    if (parts.length === 0) return plugin;
    const [first, ...others] = parts;
    // Descriptors, because `terms` and `data` are read anew each time.
    for (const part of others)
      Object.defineProperties(first, Object.getOwnPropertyDescriptors(part));
    return first!;
  };

  #filter(name: string, plugin: Filter): PluginInstance {
    return {
      filter: (context) => {
        const before = context.candidates.slice(0, context.candidateCount);
        const { value: left, reads } = this.#unknown.during(() => plugin.filter(context));
        const run = this.#runs.get(context.profile);
        const isRecorded = run?.filters.has(name) === true;
        if (!this.#answersFromRecord({ name, plugin, reads, isRecorded })) return left;
        context.candidates.set(before);
        return keepSlots(context, (slot) => this.#rowOf(run!, slot)?.removedBy !== name);
      },
    };
  }

  #scorer(name: string, plugin: Scorer): PluginInstance {
    let isReal = true;
    const answer = (context: PickContext, out: Float64Array) => {
      const { reads } = this.#unknown.during(() => plugin.score(context, out));
      const run = this.#runs.get(context.profile);
      const isRecorded = run?.scorers.has(name) === true;
      isReal = !this.#answersFromRecord({ name, plugin, reads, isRecorded });
      if (!isReal) this.#score(name, run!, { context, out });
    };
    return Object.defineProperty({ score: answer }, "terms", {
      enumerable: true,
      configurable: true,
      get: () => (isReal ? plugin.terms : undefined),
    });
  }

  #screener(name: string, plugin: Screener): PluginInstance {
    const isRecorded = this.#isConfigured(name);
    return {
      screen: (context, keep) => {
        const before = keep.slice(0, context.candidateCount);
        const { reads } = this.#unknown.during(() => plugin.screen(context, keep));
        // It may look at endpoints that were no candidates, which are not in the record.
        const isKnown = isRecorded && this.#isUnchanged(name);
        if (!isKnown && !this.#answersFromRecord({ name, plugin, reads, isRecorded })) return;
        for (let i = 0; i < context.candidateCount; i++) {
          const isOut = this.#bySlot.get(context.candidates[i]!)!.screenedBy === name;
          keep[i] = isOut ? 0 : before[i]!;
        }
      },
    };
  }

  #admitter(name: string, plugin: Admitter): PluginInstance {
    const isRecorded = this.#isConfigured(name);
    return {
      admit: (context) => {
        const { value: denial, reads } = this.#unknown.during(() => plugin.admit(context));
        if (!this.#answersFromRecord({ name, plugin, reads, isRecorded })) return denial;
        const { runs, dropped } = this.#attempt;
        return runs.length === 0 && dropped !== null ? dropped.detail : undefined;
      },
    };
  }

  #handler(name: string, plugin: ProfileHandler): PluginInstance {
    const isRecorded = this.#isConfigured(name);
    const { runs, dropped } = this.#attempt;
    const roleOf = (role: ReplayableRun["role"]) => runs.find((run) => run.role === role)?.profile;
    let ranCount = 0;
    return {
      next: (context) => {
        const { value: next, reads } = this.#unknown.during(() => plugin.next(context));
        const isAnswered = this.#answersFromRecord({ name, plugin, reads, isRecorded });
        const recorded = runs[ranCount++]?.profile;
        return isAnswered ? recorded : next;
      },
      finish: (context) => {
        const { value, reads } = this.#unknown.during(() => plugin.finish(context));
        if (!this.#answersFromRecord({ name, plugin, reads, isRecorded })) return value;
        const primary = roleOf("primary");
        if (primary === undefined) return dropped?.detail ?? "";
        const prefill = roleOf("prefill");
        const encode = roleOf("encode");
        return {
          primary,
          ...(prefill === undefined ? {} : { prefill }),
          ...(encode === undefined ? {} : { encode }),
        };
      },
    };
  }

  /** Its handler answers in its place where it has read what is not known. */
  #decider(name: string, plugin: Decider): PluginInstance {
    const decide: Decider["decide"] = (context, slot) => {
      if (plugin.onPicked !== undefined) this.#unknown.read(`what ${name} remembered`);
      return plugin.decide(context, slot);
    };
    return Object.defineProperty({ decide }, "verdictTerms", {
      enumerable: true,
      configurable: true,
      get: () => plugin.verdictTerms,
    });
  }

  /** Whether the record has to answer, and does; says what is not known where it does not. */
  #answersFromRecord(asked: {
    readonly name: string;
    readonly plugin: PluginInstance;
    readonly reads: string | undefined;
    /** Whether the record has an answer of the plugin. */
    readonly isRecorded: boolean;
  }): boolean {
    const { name, plugin, reads, isRecorded } = asked;
    const because = plugin.onPicked === undefined ? reads && `reads ${reads}` : "learns from picks";
    const isCompared = this.#isPartial && this.#isUnchanged(name);
    if (because === undefined || because === "") return isRecorded && isCompared;
    if (!isRecorded) {
      this.#note(
        `${name} ${because}, and the record has no answer of it: what it knew is not known, and it ` +
          "answers as if it knew nothing.",
      );
    } else if (this.#other !== undefined) {
      this.#note(
        `${name} ${because} and answers as recorded: what it would say with another configuration ` +
          "is not known.",
      );
    }
    return isRecorded;
  }

  #isConfigured(name: string): boolean {
    return this.#attempt.scheduler.plugins.some((plugin) => plugin.name === name);
  }

  /** Whether a plugin has the type and parameters that it was recorded with. */
  #isUnchanged(name: string): boolean {
    if (this.#other === undefined) return true;
    const specIn = ({ plugins }: SchedulerConfig) => plugins.find((one) => one.name === name);
    return JSON.stringify(specIn(this.#other)) === JSON.stringify(specIn(this.#attempt.scheduler));
  }

  #rowOf(run: ReplayableRun, slot: number) {
    return run.rows.get(this.#bySlot.get(slot)!.id);
  }

  #score(
    name: string,
    run: ReplayableRun,
    { context, out }: { readonly context: PickContext; readonly out: Float64Array },
  ): void {
    const { candidates, candidateCount } = context;
    let unknown = 0;
    for (let i = 0; i < candidateCount; i++) {
      const score = this.#rowOf(run, candidates[i]!)?.scores[name] ?? null;
      if (score === null) unknown++;
      out[i] = score ?? 0;
    }
    if (unknown > 0)
      this.#note(`${name} has no answer on record for ${unknown} candidates, which count as 0.`);
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
