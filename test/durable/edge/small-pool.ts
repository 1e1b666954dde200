// Endpoints and a picker with the default configuration, for picks that somebody records.

import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import { type LocalRecord, RecordPacker } from "../../../src/scheduler/decisions/packed-record.ts";
import { DecisionRecorder } from "../../../src/scheduler/decisions/recorder.ts";
import { EndpointPicker } from "../../../src/scheduler/endpoint-picker.ts";
import { EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";
import { pickRequest } from "../pool-client.ts";

const NOW_MS = 1_000_000;
const SEED = 5;

export class SmallPool {
  readonly scheduler = schedulerConfigSchema.parse({});
  readonly table = new EndpointTable();
  readonly #picker = new EndpointPicker(this.scheduler);

  constructor(endpoints: number) {
    for (let n = 0; n < endpoints; n++) {
      const address = `10.0.0.${n + 1}:8000`;
      const slot = this.table.add({ id: `default/e${n}`, address, engine: "vllm", labels: {} })!;
      this.table.applySample(slot, { waiting: 0, running: n, kvUsage: 0 }, NOW_MS);
    }
  }

  /** A pick at attempt 0, which `recorder` watches: it is left to finish. */
  pick(recorder: DecisionRecorder | undefined, requestId = "r0"): void {
    const { request } = pickRequest(requestId);
    const { columns: endpoints } = this.table;
    const prefixSources = { approximate: () => undefined };
    const at = { nowMs: NOW_MS, staleAfterMs: 2_000, seed: SEED };
    this.#picker.pick({ request, endpoints, pool: this.table, prefixSources, ...at }, recorder);
  }

  record(requestId: string): LocalRecord {
    const packer = new RecordPacker();
    const recorder = new DecisionRecorder(packer);
    this.pick(recorder, requestId);
    const { scheduler } = this;
    recorder.finish(this.table, { attempt: 0, configVersion: 1, scheduler, seed: SEED });
    return { ...packer.take()!, requestId, attempt: 0 };
  }
}
