// A process that is started again when it ends unasked, with the same arguments, ports and sockets.
//
//   start ──► ready ──► ended ──pause──► start …
//     │                   └─ too often ──► given up
//     └─ ended before it was ever ready ─► given up: it would not be otherwise the next time
//
// It can also be held down on purpose: ended and, however long that takes, not started before it is let go.

import { once } from "node:events";
import { rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import {
  startProcess,
  type Exit,
  type ProcessSpec,
  type ReadyLine,
  type RunningProcess,
} from "./child-process.ts";
import { type RestartLimits, Restarts } from "./restarts.ts";

export interface KeptOptions {
  readonly limits: RestartLimits;
  /** It is ready again after it ended like this. */
  readonly onRestarted: (process: KeptProcess, exit: Exit) => void;
}

export type Condition = "starting" | "ready" | "frozen" | "held";

export class KeptProcess {
  readonly name: string;
  readonly logFile: string;
  /** The fields of the first ready line. Rejects with what to tell the user if there is none. */
  readonly ready: Promise<ReadyLine>;
  /** Resolves when it has ended for good: it was stopped, never ready, or ended too often. */
  readonly exited: Promise<Exit>;
  readonly #spec: ProcessSpec;
  readonly #options: KeptOptions;
  readonly #restarts: Restarts;
  readonly #stopping = new AbortController();
  #current: RunningProcess;
  #firstReady: ReadyLine | undefined;
  #programPid: number | undefined;
  /** Aborted when it is let go. */
  #hold: AbortController | undefined;
  #isFrozen = false;
  #isReady = false;

  constructor(spec: ProcessSpec, options: KeptOptions) {
    this.name = spec.name;
    this.logFile = spec.logFile;
    this.#spec = spec;
    this.#options = options;
    this.#restarts = new Restarts(options.limits);
    this.#current = this.#start(spec.args, "begin");
    this.ready = this.#current.ready.then((line) => (this.#firstReady = line));
    // Whoever waits for it sees the failure; nobody has to.
    this.ready.catch(() => {});
    this.exited = this.#keep();
  }

  /** Of the process as it runs now: the program's own, where the process only guards a program. */
  get pid(): number {
    return this.#programPid ?? this.#current.pid;
  }

  get endsLast(): boolean {
    return this.#spec.endsLast === true;
  }

  /** Where its /health and /metrics are, the same after a restart; undefined: it has none. */
  get adminPort(): number | undefined {
    const port = this.#firstReady?.["adminPort"];
    return typeof port === "number" ? port : undefined;
  }

  /** Whether it was ready once. If not, its end is a failure to start. */
  get hasStarted(): boolean {
    return this.#firstReady !== undefined;
  }

  /** What it does now. */
  get condition(): Condition {
    if (this.#hold !== undefined) return "held";
    if (this.#isFrozen) return "frozen";
    return this.#isReady ? "ready" : "starting";
  }

  /** Ends it; it is started again when `release` is called. That is no failure of its own. */
  hold(signal: "SIGTERM" | "SIGKILL"): void {
    this.#thaw();
    this.#hold ??= new AbortController();
    this.#isReady = false;
    this.#current.signal(signal);
  }

  /** A program with a guard can be frozen: the guard ends it with us, which a frozen one would not notice. */
  get canFreeze(): boolean {
    return this.#programPid !== undefined;
  }

  /** Stops its clock: its sockets stay open and nobody answers. Nothing where it cannot be frozen. */
  freeze(): void {
    if (this.#programPid !== undefined) this.#isFrozen = signalProcess(this.#programPid, "SIGSTOP");
  }

  /** Ends a hold and a freeze. */
  release(): void {
    this.#thaw();
    this.#hold?.abort();
    this.#hold = undefined;
  }

  /** Sends a signal; from now on its end is not followed by a start. */
  stop(signal: "SIGTERM" | "SIGKILL"): void {
    this.#stopping.abort();
    this.release();
    this.#current.signal(signal);
  }

  #thaw(): void {
    if (!this.#isFrozen) return;
    this.#isFrozen = false;
    if (this.#programPid !== undefined) signalProcess(this.#programPid, "SIGCONT");
  }

  async #keep(): Promise<Exit> {
    for (;;) {
      const exit = await this.#current.exited;
      this.#isReady = false;
      this.#isFrozen = false;
      const line = this.#firstReady;
      if (line === undefined || !(await this.#mayStart())) return exit;
      this.#current = this.#start(this.#spec.argsAgain?.(line) ?? this.#spec.args, "append");
      const started = this.#current;
      started.ready.then(
        () => this.#options.onRestarted(this, exit),
        // Not ready in time. If it ended, this is too late to do anything.
        () => started.signal("SIGKILL"),
      );
    }
  }

  /** Waits until it is to be started again; false: never. */
  async #mayStart(): Promise<boolean> {
    const isDue = this.#hold !== undefined || (await this.#pause());
    // It may have been taken hold of meanwhile.
    const hold = this.#hold;
    if (hold !== undefined) await once(hold.signal, "abort");
    return isDue && !this.#stopping.signal.aborted;
  }

  /** False: it is not to be started again. */
  async #pause(): Promise<boolean> {
    const { signal } = this.#stopping;
    if (signal.aborted) return false;
    const pauseMs = this.#restarts.next(performance.now(), Math.random());
    if (pauseMs === undefined) return false;
    await sleep(pauseMs, undefined, { signal }).catch(() => {});
    return !signal.aborted;
  }

  #start(args: readonly string[], log: "begin" | "append"): RunningProcess {
    // One that was killed leaves its sockets behind, and they cannot be bound a second time.
    for (const path of this.#spec.sockets ?? []) rmSync(path, { force: true });
    const started = startProcess({ ...this.#spec, args }, log);
    this.#programPid = undefined;
    started.ready.then(
      ({ pid }) => {
        this.#programPid = typeof pid === "number" ? pid : undefined;
        this.#isReady = this.#hold === undefined;
      },
      () => {},
    );
    return started;
  }
}

/** False: it has ended. */
function signalProcess(pid: number, signal: "SIGSTOP" | "SIGCONT"): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    // ESRCH.
    return false;
  }
}
