// Which reports of every relay were applied, so that each is applied once: over resends, reconnects
// and, because the numbers are stored in one transaction with the usage they led to, over the
// object's own restarts.
//
//      applied before   │ next                 the relay holds [oldest, …], the frame [first, …]
//   ────────────────────┼─────────
//        report ────────┘        first ≤ next: the new ones are applied, the others are known
//                                first > next: something is missing that the relay still holds
//                                oldest > next: what lies between is gone for good, and skipped

import type { ReportNumbers } from "../agent-frames.ts";
import { AGENT_ROWS_MAX, type AckedAgent } from "../pool-storage.ts";

/** Relays whose numbers are remembered: as many as are stored. */
export const REPORTERS_MAX = AGENT_ROWS_MAX;

export interface Reporter {
  readonly agent: string;
  readonly epoch: string;
}

interface Progress extends AckedAgent {
  seq: number;
  report: number;
  isSaved: boolean;
}

/**
 * How many of a frame's reports, from its first on, are to be skipped because they were applied
 * before. `gap`: earlier ones are missing, none may be applied. `full`: too many relays at once.
 */
export type Judged =
  | { readonly ok: true; readonly skipCount: number }
  | { readonly ok: false; readonly why: "gap" | "full" };

export class AppliedReports {
  readonly #stored: (reporter: Reporter) => { seq: number; report: number };
  /** By agent, in the order they were first heard. */
  readonly #progress = new Map<string, Progress>();

  constructor(stored: (reporter: Reporter) => { seq: number; report: number }) {
    this.#stored = stored;
  }

  /** Judges a frame and counts its `count` reports as applied, unless it says otherwise. */
  take(reporter: Reporter, seq: number, frame: ReportNumbers & { count: number }): Judged {
    const progress = this.#find(reporter);
    if (progress === undefined) return { ok: false, why: "full" };
    const known = Math.max(progress.report, frame.oldest - 1);
    if (frame.first > known + 1) return { ok: false, why: "gap" };
    const last = frame.first + frame.count - 1;
    progress.seq = Math.max(progress.seq, seq);
    progress.report = Math.max(known, last);
    progress.isSaved = false;
    return { ok: true, skipCount: Math.min(frame.count, known - frame.first + 1) };
  }

  /** Counts a frame of version 1, which has no numbers: all of it is to be applied. */
  takeFrame(reporter: Reporter, seq: number): Judged {
    const progress = this.#find(reporter);
    if (progress === undefined) return { ok: false, why: "full" };
    progress.seq = Math.max(progress.seq, seq);
    progress.isSaved = false;
    return { ok: true, skipCount: 0 };
  }

  get isSaved(): boolean {
    for (const { isSaved } of this.#progress.values()) if (!isSaved) return false;
    return true;
  }

  /** What was applied and not saved. */
  unsaved(): AckedAgent[] {
    return [...this.#progress.values()]
      .filter(({ isSaved }) => !isSaved)
      .map(({ agent, epoch, seq, report }) => ({ agent, epoch, seq, report }));
  }

  /** Everything that was applied is durable now. */
  saved(): void {
    for (const progress of this.#progress.values()) progress.isSaved = true;
  }

  /** The number up to which a relay's reports were applied; 0 if none was. */
  applied({ agent, epoch }: Reporter): number {
    const progress = this.#progress.get(agent);
    return progress?.epoch === epoch ? progress.report : 0;
  }

  /** Undefined if every place is taken by a relay whose numbers are not stored yet. */
  #find(reporter: Reporter): Progress | undefined {
    const known = this.#progress.get(reporter.agent);
    if (known?.epoch === reporter.epoch) return known;
    this.#progress.delete(reporter.agent);
    if (this.#progress.size >= REPORTERS_MAX && !this.#evict()) return undefined;
    const progress = { ...reporter, ...this.#stored(reporter), isSaved: true };
    this.#progress.set(reporter.agent, progress);
    return progress;
  }

  #evict(): boolean {
    for (const { agent, isSaved } of this.#progress.values()) {
      if (!isSaved) continue;
      this.#progress.delete(agent);
      return true;
    }
    return false;
  }
}
