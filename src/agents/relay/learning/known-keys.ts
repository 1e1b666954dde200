// Last keys of prompts that are left alone for a while.

/** After that a prompt is learned again: templates change with engines, and collectors forget. */
export const KNOWN_MS = 600_000;
/** The oldest goes first. */
export const KNOWN_KEYS_MAX = 65_536;

export class KnownKeys {
  readonly #untilMs = new Map<string, number>();

  has(key: string, nowMs: number): boolean {
    return (this.#untilMs.get(key) ?? -Infinity) > nowMs;
  }

  remember(key: string, untilMs: number): void {
    this.#untilMs.delete(key);
    this.#untilMs.set(key, untilMs);
    if (this.#untilMs.size <= KNOWN_KEYS_MAX) return;
    for (const oldest of this.#untilMs.keys()) {
      this.#untilMs.delete(oldest);
      break;
    }
  }

  forget(key: string): void {
    this.#untilMs.delete(key);
  }

  clear(): void {
    this.#untilMs.clear();
  }
}
