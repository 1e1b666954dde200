// The writable side of EndpointColumns: owned by an EndpointTable.

import { Adapters } from "./adapters.ts";
import type { EndpointColumns } from "./endpoint-columns.ts";
import { EngineSpeeds } from "./engine-speeds.ts";
import { EngineWork } from "./engine-work.ts";
import { Scalars } from "./scalars.ts";

export class Columns implements EndpointColumns {
  slotCount = 0;
  readonly isPresent: Uint8Array;
  readonly queueDepth: Int32Array;
  readonly runningRequests: Int32Array;
  readonly kvUsage: Float64Array;
  readonly kvCapacityTokens: Float64Array;
  readonly sampledAtMs: Float64Array;
  readonly inFlightRequests: Int32Array;
  readonly inFlightTokens: Float64Array;
  readonly ejectedUntilMs: Float64Array;
  readonly cameAtMs: Float64Array;
  readonly speeds: EngineSpeeds;
  readonly work: EngineWork;
  readonly prefillBusyUntilMs: Float64Array;
  readonly prefillMsPerToken: Float64Array;
  readonly transferMsPerToken: Float64Array;
  readonly serviceMs: Float64Array;
  readonly requestTokens: Float64Array;
  readonly coldTokens: Float64Array;
  readonly loraMax: Int32Array;
  readonly adapters: Adapters;
  readonly scalars: Scalars;

  constructor(slots: number) {
    this.isPresent = new Uint8Array(slots);
    this.queueDepth = new Int32Array(slots);
    this.runningRequests = new Int32Array(slots);
    this.kvUsage = new Float64Array(slots);
    this.kvCapacityTokens = new Float64Array(slots);
    this.sampledAtMs = new Float64Array(slots);
    this.inFlightRequests = new Int32Array(slots);
    this.inFlightTokens = new Float64Array(slots);
    this.ejectedUntilMs = new Float64Array(slots);
    this.cameAtMs = new Float64Array(slots);
    this.speeds = new EngineSpeeds(slots);
    this.work = new EngineWork(slots);
    this.prefillBusyUntilMs = this.work.prefillBusyUntilMs;
    this.prefillMsPerToken = this.speeds.prefillMsPerToken;
    this.transferMsPerToken = this.speeds.transferMsPerToken;
    this.serviceMs = this.speeds.serviceMs;
    this.requestTokens = this.work.requestTokens;
    this.coldTokens = this.work.coldTokens;
    this.loraMax = new Int32Array(slots);
    this.adapters = new Adapters(this.loraMax);
    this.scalars = new Scalars(slots);
  }

  scalar(attributeKey: string): Float64Array | undefined {
    return this.scalars.column(attributeKey);
  }
}
