// The processes of one `fairlead up`: started together, each kept running, stopped together.

import { setTimeout as sleep } from "node:timers/promises";
import type { Exit, ProcessSpec } from "./child-process.ts";
import { KeptProcess } from "./kept-process.ts";
import { RESTART_LIMITS, type RestartLimits } from "./restarts.ts";

/** Between SIGTERM and SIGKILL: what is under way may end. */
export const STOP_MS_MAX = 5_000;
/** More processes than this mean a configuration that belongs on more than one machine. */
export const PROCESSES_MAX = 64;

/** A process that could not be kept running. */
export interface Death {
  readonly process: KeptProcess;
  /** How it ended the last time. */
  readonly exit: Exit;
}

export interface SupervisorOptions {
  /** A process is ready again after it ended like this. */
  readonly onRestarted: (process: KeptProcess, exit: Exit) => void;
  readonly restarts?: RestartLimits;
  /** Absent: STOP_MS_MAX. */
  readonly stopMsMax?: number;
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #processes: KeptProcess[] = [];
  readonly #death = Promise.withResolvers<Death>();
  #isStopping = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** Resolves with the first process that did not start, or ended too often to go on. */
  get death(): Promise<Death> {
    return this.#death.promise;
  }

  get processes(): readonly KeptProcess[] {
    return this.#processes;
  }

  /** Process ids by name, of the processes as they run now. */
  pids(): Record<string, number> {
    return Object.fromEntries(this.#processes.map((each) => [each.name, each.pid]));
  }

  /** Ports of /health and /metrics by name, of the processes that have them. */
  adminPorts(): Record<string, number> {
    return Object.fromEntries(
      this.#processes.flatMap(({ name, adminPort }) =>
        adminPort === undefined ? [] : [[name, adminPort] as const],
      ),
    );
  }

  start(spec: ProcessSpec): KeptProcess {
    if (this.#isStopping) throw new Error(`${spec.name} was to start while everything stops`);
    if (this.#processes.length === PROCESSES_MAX)
      throw new RangeError(`more than ${PROCESSES_MAX} processes`);
    const started = new KeptProcess(spec, {
      limits: this.#options.restarts ?? RESTART_LIMITS,
      onRestarted: this.#options.onRestarted,
    });
    this.#processes.push(started);
    void started.exited.then((exit) => {
      if (!this.#isStopping) this.#death.resolve({ process: started, exit });
    });
    return started;
  }

  /** SIGTERM to all, then SIGKILL to what is left. Resolves when none is left. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const each of this.#processes) each.stop("SIGTERM");
    const waitedFor = this.#processes.filter((each) => !each.endsLast);
    const controller = new AbortController();
    const { stopMsMax = STOP_MS_MAX } = this.#options;
    const deadline = sleep(stopMsMax, undefined, { signal: controller.signal }).catch(() => {});
    await Promise.race([Promise.all(waitedFor.map((each) => each.exited)), deadline]);
    controller.abort();
    this.kill();
    await Promise.all(this.#processes.map((each) => each.exited));
  }

  /** Ends everything now. */
  kill(): void {
    this.#isStopping = true;
    for (const each of this.#processes) each.stop("SIGKILL");
  }
}
