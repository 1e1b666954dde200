// Runs a profile handler as the EndpointPicker does, over profiles whose outcome a test says.

import type {
  Decider,
  PickContext,
  ProfileHandler,
  SchedulingStages,
} from "../../../src/scheduler/plugin.ts";
import { pickContext, type PickContextOptions } from "./pick-context.ts";
import { createPlugin } from "./plugins.ts";

/** More than any handler may run. */
const RUNS_MAX = 20;

export interface HandlerRun {
  /** In the order they ran. */
  readonly ran: readonly string[];
  /** Without its verdicts. */
  readonly stages: SchedulingStages | string;
  readonly verdicts?: SchedulingStages["verdicts"];
}

/** `slots`: the slot that each profile of the configuration chooses, -1 for one that finds nobody. */
export function runHandler(
  handler: ProfileHandler,
  slots: Readonly<Record<string, number>>,
  options: PickContextOptions = {},
): HandlerRun {
  const results: Record<string, number> = {};
  const contextNow = (): PickContext => pickContext([{}, {}, {}], { ...options, results });
  const ran: string[] = [];
  for (let run = 0; run < RUNS_MAX; run++) {
    const profile = handler.next(contextNow());
    if (profile === undefined || slots[profile] === undefined) break;
    ran.push(profile);
    results[profile] = slots[profile];
  }
  const finished = handler.finish(contextNow());
  if (typeof finished === "string") return { ran, stages: finished };
  const { verdicts, ...stages } = finished;
  return verdicts === undefined ? { ran, stages } : { ran, stages, verdicts };
}

/** A decider with a fixed answer, which remembers the slots it was asked about. */
export class FixedDecider implements Decider {
  readonly asked: number[] = [];
  readonly #answer: boolean;

  constructor(answer: boolean) {
    this.#answer = answer;
  }

  decide(_context: PickContext, slot: number): boolean {
    this.asked.push(slot);
    return this.#answer;
  }
}

/** A handler of a pool with these profiles and deciders. */
export function createHandler(
  type: string,
  params: object,
  pool: { readonly profiles: readonly string[]; readonly deciders?: Record<string, Decider> },
): ProfileHandler {
  const { profiles, deciders = {} } = pool;
  const instance = (name: string): Decider => {
    const decider = deciders[name];
    if (decider === undefined) throw new Error(`no decider ${name}`);
    return decider;
  };
  return createPlugin(type, params, { profiles, instance }) as ProfileHandler;
}
