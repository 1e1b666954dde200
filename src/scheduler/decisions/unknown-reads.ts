// Notices when a plugin reads what a record does not have, while a decision is taken again.

/** Collects what was read. One a replay. */
export class UnknownReads {
  readonly #reads = new Set<string>();

  /** Called by whatever stands in the place of something that was not recorded. */
  read(what: string): void {
    this.#reads.add(what);
  }

  /** Runs `work`; `reads` is what it read, as a phrase, and undefined for nothing. */
  during<T>(work: () => T): { readonly value: T; readonly reads: string | undefined } {
    this.#reads.clear();
    const value = work();
    const reads = this.#reads.size === 0 ? undefined : [...this.#reads].join(" and ");
    return { value, reads };
  }
}
