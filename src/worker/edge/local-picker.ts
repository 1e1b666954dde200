// A pool's scheduler in an isolate: the same EndpointPicker that its object has, made of the configuration that
// the isolate knows.

import { effectiveScheduler, readableScheduler } from "../../config/scheduling.ts";
import type { SchedulerConfig } from "../../scheduler/config/scheduler-config.ts";
import { isLocalCapable } from "../../scheduler/edge/local-capable.ts";
import { schedulerHash } from "../../scheduler/config/scheduler-hash.ts";
import { EndpointPicker } from "../../scheduler/endpoint-picker.ts";
import type { Pool } from "../directory-index.ts";

export class LocalPicker {
  readonly picker: EndpointPicker;
  /** What it is made of: one object while the picker is. */
  readonly scheduler: SchedulerConfig;
  /** Has no plugin that only works in the object. */
  readonly isLocalCapable: boolean;
  /** Snapshots of an object that schedules alike have the same. */
  readonly schedulerHash: string;
  readonly #text: string;

  private constructor(config: SchedulerConfig, text: string) {
    this.picker = new EndpointPicker(config);
    this.scheduler = config;
    this.isLocalCapable = isLocalCapable(config);
    this.schedulerHash = schedulerHash(config);
    this.#text = text;
  }

  /**
   * For the pool as it is configured now; the one before where that schedules alike: a new picker's plugins
   * have forgotten what they learned.
   */
  static for(pool: Pool, before: LocalPicker | undefined): LocalPicker {
    // As in the object, the default stands in for what this release cannot read.
    const config = readableScheduler(pool.config.scheduler) ?? effectiveScheduler({});
    const text = JSON.stringify(config);
    return before !== undefined && before.#text === text ? before : new LocalPicker(config, text);
  }
}
