// Which pools' renderers are left alone for a moment, because they failed: each try costs a request the
// time it waits. What one isolate has seen.

import { DEPLOYMENT_LIMITS } from "../../config/deployment.ts";

/** Failures in a row, with no rendering between, after which nobody asks for a while. */
export const FAILURES_MAX = 3;
export const PAUSE_MS = 5_000;
/** Engines that do not render begin to when they are started anew. */
export const UNSUPPORTED_MS = 30_000;

interface Trouble {
  failures: number;
  pausedUntilMs: number;
}

export class RendererPauses {
  /** By pool; only those with something against them. */
  readonly #troubles = new Map<string, Trouble>();

  isPaused(pool: string, nowMs: number): boolean {
    return (this.#troubles.get(pool)?.pausedUntilMs ?? 0) > nowMs;
  }

  answered(pool: string): void {
    this.#troubles.delete(pool);
  }

  failed(pool: string, nowMs: number): void {
    const trouble = this.#of(pool);
    trouble.failures++;
    if (trouble.failures < FAILURES_MAX) return;
    trouble.failures = 0;
    trouble.pausedUntilMs = nowMs + PAUSE_MS;
  }

  unsupported(pool: string, nowMs: number): void {
    this.#of(pool).pausedUntilMs = nowMs + UNSUPPORTED_MS;
  }

  #of(pool: string): Trouble {
    const known = this.#troubles.get(pool);
    if (known !== undefined) return known;
    // Only pools of the configuration are asked for; renaming them long enough could fill this.
    if (this.#troubles.size >= DEPLOYMENT_LIMITS.poolsMax) this.#troubles.clear();
    const trouble = { failures: 0, pausedUntilMs: 0 };
    this.#troubles.set(pool, trouble);
    return trouble;
  }
}
