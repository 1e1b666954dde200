// What is found while a configuration is read: mistakes, all of them, and notes.

/** Mistakes that are told; how many more there are is told, too. */
export const ISSUES_MAX = 100;
/** Names are shown up to here. */
const SHOWN_CHARS_MAX = 64;

/** Within the configuration, e.g. `["plugins", 3, "parameters", "threshold"]`. */
export type ConfigPath = readonly (string | number)[];

/** One mistake, or one note. */
export interface SchedulerConfigIssue {
  readonly path: ConfigPath;
  /** What is wrong, what was found and what is allowed. Never a value that may be a secret. */
  readonly message: string;
}

export class Findings {
  readonly #issues: SchedulerConfigIssue[] = [];
  readonly #notes: SchedulerConfigIssue[] = [];
  #untold = 0;

  /** The configuration is refused. */
  mistake(path: ConfigPath, message: string): void {
    if (this.#issues.length < ISSUES_MAX) this.#issues.push({ path, message });
    else this.#untold += 1;
  }

  /** The configuration stands, but whoever wrote it should know. */
  note(path: ConfigPath, message: string): void {
    if (this.#notes.length < ISSUES_MAX) this.#notes.push({ path, message });
  }

  get issues(): readonly SchedulerConfigIssue[] {
    if (this.#untold === 0) return this.#issues;
    return [...this.#issues, { path: [], message: `and ${this.#untold} more mistakes` }];
  }

  get notes(): readonly SchedulerConfigIssue[] {
    return this.#notes;
  }
}

/** A name in quotes, shortened if need be. For names only, never for values of parameters. */
export function quoted(name: string): string {
  return name.length <= SHOWN_CHARS_MAX
    ? `'${name}'`
    : `'${name.slice(0, SHOWN_CHARS_MAX)}…' (${name.length} characters)`;
}
