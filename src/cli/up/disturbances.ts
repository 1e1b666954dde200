// What a run does to its own processes when it is asked to: ends and holds them down, or freezes them.
// Each ends by itself, even if whoever asked is gone, unless it was asked to stay.

import { z } from "zod";
import type { Condition, KeptProcess } from "./kept-process.ts";
import { PROCESSES_MAX } from "./supervisor.ts";

/** An hour without a process is one that was forgotten. */
export const DISTURBED_MS_MAX = 3_600_000;

export const disturbanceSchema = z.strictObject({
  names: z.array(z.string().max(256)).min(1).max(PROCESSES_MAX),
  /** kill: SIGKILL. stop: SIGTERM, so that it may drain. start: ends any of the others. */
  do: z.enum(["kill", "stop", "freeze", "start"]),
  /** null: until it is started. */
  forMs: z.int().min(1).max(DISTURBED_MS_MAX).nullable().default(null),
});
export type Disturbance = z.input<typeof disturbanceSchema>;

export const conditionsSchema = z.record(
  z.string(),
  z.enum(["starting", "ready", "frozen", "held"] satisfies Condition[]),
);
export type Conditions = z.output<typeof conditionsSchema>;

type Outcome =
  | { readonly ok: true; readonly value: Conditions }
  | { readonly ok: false; readonly message: string };

export class Disturbances {
  readonly #processes: () => readonly KeptProcess[];
  readonly #leases = new Map<string, NodeJS.Timeout>();

  /** `processes` is asked each time. */
  constructor(processes: () => readonly KeptProcess[]) {
    this.#processes = processes;
  }

  conditions(): Conditions {
    return Object.fromEntries(this.#processes().map(({ name, condition }) => [name, condition]));
  }

  /** All that are named, or none. Untrusted input. */
  apply(input: unknown): Outcome {
    const parsed = disturbanceSchema.safeParse(input);
    if (!parsed.success) return { ok: false, message: z.prettifyError(parsed.error) };
    const { names, do: what, forMs } = parsed.data;
    const all = this.#processes();
    const meant = all.filter(({ name }) => names.includes(name));
    if (meant.length < new Set(names).size) {
      const known = all.map(({ name }) => name).join(", ");
      return { ok: false, message: `names one that is not there; there are ${known}` };
    }
    if (what === "freeze" && !meant.every((each) => each.canFreeze))
      return { ok: false, message: "only workerd's processes can be frozen" };
    for (const each of meant) this.#disturb(each, what, forMs);
    return { ok: true, value: this.conditions() };
  }

  #disturb(each: KeptProcess, what: Disturbance["do"], forMs: number | null): void {
    clearTimeout(this.#leases.get(each.name));
    if (what === "start") each.release();
    else if (what === "freeze") each.freeze();
    else each.hold(what === "kill" ? "SIGKILL" : "SIGTERM");
    if (what === "start" || forMs === null) return;
    this.#leases.set(
      each.name,
      setTimeout(() => each.release(), forMs),
    );
  }

  /** Nothing is let go by itself any more. */
  close(): void {
    for (const lease of this.#leases.values()) clearTimeout(lease);
  }
}
