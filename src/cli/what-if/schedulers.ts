// The configurations that a file has for pools.

import type { SchedulerConfig } from "../../scheduler/config/scheduler-config.ts";
import { effectiveScheduler } from "../../config/scheduling.ts";
import { checkScheduler, isSchedulerDocument } from "../config/scheduler-file.ts";
import { checkDeployment, readDocument } from "../deployment-file.ts";

/** One for whichever pool is asked about, or those of a deployment by their pools' names. */
export type FileSchedulers =
  | { readonly one: SchedulerConfig }
  | { readonly byPool: ReadonlyMap<string, SchedulerConfig> };

/** Of an EndpointPickerConfig, or of a whole deployment. Throws a CliError that lists every mistake. */
export async function readSchedulers(file: string): Promise<FileSchedulers> {
  const document = await readDocument(file);
  if (isSchedulerDocument(document))
    return { one: checkScheduler(document, file, { allowExperimentalPlugins: true }) };
  return { byPool: schedulersOf(document, file) };
}

/** Complete schedulers of a deployment's pools. */
export function schedulersOf(document: unknown, file: string): Map<string, SchedulerConfig> {
  const { pools } = checkDeployment(document, file);
  return new Map(pools.map(({ name, scheduler }) => [name, effectiveScheduler(scheduler)]));
}
