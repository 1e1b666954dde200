// The processes of one `fairlead up`: started together, stopped together.

import { setTimeout as sleep } from "node:timers/promises";
import { startProcess, type Exit, type ProcessSpec, type RunningProcess } from "./child-process.ts";

/** Between SIGTERM and SIGKILL: what is under way may end. */
export const STOP_MS_MAX = 5_000;
/** More processes than this mean a configuration that belongs on more than one machine. */
export const PROCESSES_MAX = 64;

export interface Death {
  readonly process: RunningProcess;
  readonly exit: Exit;
}

export class Supervisor {
  readonly #processes: RunningProcess[] = [];
  readonly #death = Promise.withResolvers<Death>();
  #isStopping = false;

  /** Resolves with the first process that ends unasked. */
  get death(): Promise<Death> {
    return this.#death.promise;
  }

  get processes(): readonly RunningProcess[] {
    return this.#processes;
  }

  start(spec: ProcessSpec): RunningProcess {
    if (this.#isStopping) throw new Error(`${spec.name} was to start while everything stops`);
    if (this.#processes.length === PROCESSES_MAX)
      throw new RangeError(`more than ${PROCESSES_MAX} processes`);
    const started = startProcess(spec);
    this.#processes.push(started);
    void started.exited.then((exit) => {
      if (!this.#isStopping) this.#death.resolve({ process: started, exit });
    });
    return started;
  }

  /** SIGTERM to all, then SIGKILL to what is left. Resolves when none is left. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const each of this.#processes) each.signal("SIGTERM");
    const all = Promise.all(this.#processes.map((each) => each.exited));
    const controller = new AbortController();
    const deadline = sleep(STOP_MS_MAX, undefined, { signal: controller.signal }).catch(() => {});
    await Promise.race([all, deadline]);
    controller.abort();
    this.kill();
    await all;
  }

  /** Ends everything now. */
  kill(): void {
    this.#isStopping = true;
    for (const each of this.#processes) each.signal("SIGKILL");
  }
}
