// A process that is started again when it ends unasked, with the same arguments, ports and sockets.
//
//   start ──► ready ──► ended ──pause──► start …
//     │                   └─ too often ──► given up
//     └─ ended before it was ever ready ─► given up: it would not be otherwise the next time

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

  /** Where its /health and /metrics are, the same after a restart; undefined: it has none. */
  get adminPort(): number | undefined {
    const port = this.#firstReady?.["adminPort"];
    return typeof port === "number" ? port : undefined;
  }

  /** Whether it was ready once. If not, its end is a failure to start. */
  get hasStarted(): boolean {
    return this.#firstReady !== undefined;
  }

  /** Sends a signal; from now on its end is not followed by a start. */
  stop(signal: "SIGTERM" | "SIGKILL"): void {
    this.#stopping.abort();
    this.#current.signal(signal);
  }

  async #keep(): Promise<Exit> {
    for (;;) {
      const exit = await this.#current.exited;
      const line = this.#firstReady;
      if (line === undefined || !(await this.#pause())) return exit;
      this.#current = this.#start(this.#spec.argsAgain?.(line) ?? this.#spec.args, "append");
      const started = this.#current;
      started.ready.then(
        () => this.#options.onRestarted(this, exit),
        // Not ready in time. If it ended, this is too late to do anything.
        () => started.signal("SIGKILL"),
      );
    }
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
      ({ pid }) => (this.#programPid = typeof pid === "number" ? pid : undefined),
      () => {},
    );
    return started;
  }
}
