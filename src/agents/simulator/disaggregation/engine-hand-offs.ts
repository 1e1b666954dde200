// One engine's part in hand-offs: which leg a request is, and what the engine tells of itself.

import { randomUUID } from "node:crypto";
import type { Logger } from "../../process/logger.ts";
import type { EngineRunner } from "../engine-runner.ts";
import type { EngineError } from "../errors.ts";
import type { SimulatorParameters } from "../parameters.ts";
import { ClaimLeg, type Leg, type LegContext, OfferLeg } from "./legs.ts";
import type { MeetingPlace } from "./meeting-place.ts";
import { parseHandOff } from "./request.ts";

export class EngineHandOffs {
  /** As in vLLM: new at each start. */
  readonly engineId = randomUUID();
  readonly #context: LegContext;
  readonly #parameters: SimulatorParameters;
  readonly #logger: Logger;

  constructor(
    parameters: SimulatorParameters,
    place: MeetingPlace,
    runner: EngineRunner,
    logger: Logger,
  ) {
    const wallMs = (name: WaitFlag) => parameters[name] * parameters["time-scale"];
    this.#parameters = parameters;
    this.#logger = logger;
    this.#context = {
      runner,
      handOffs: place.handOffs,
      client: place.client,
      engineId: this.engineId,
      host: parameters.host,
      sideChannelPort: () => place.sideChannel.port,
      leaseMs: wallMs("kv-lease-duration"),
      bootstrapMs: wallMs("disaggregation-bootstrap-timeout"),
      waitingMs: wallMs("disaggregation-waiting-timeout"),
      loadFailurePolicy: parameters["kv-load-failure-policy"],
    };
    place.add({ engineId: this.engineId, blockSize: parameters["block-size"] });
  }

  /** The leg that a request is; undefined: all of it is done here. An error is what it is refused with. */
  legOf(body: unknown, requestId: string): Leg | EngineError | undefined {
    const { role, "disaggregation-mode": mode } = this.#parameters;
    const fields = parseHandOff(body, { role, mode });
    if ("status" in fields) return fields;
    switch (fields.kind) {
      case "offer":
        // A router that tries again uses the same id.
        return new OfferLeg(this.#context, fields, `${requestId}-${randomUUID().slice(0, 8)}`);
      case "claim":
        return new ClaimLeg(this.#context, fields);
      case "none":
        if (fields.isIncomplete) {
          this.#logger.warn({ requestId }, "remote_* is missing; the prompt is computed here");
        }
        return undefined;
    }
  }
}

type WaitFlag =
  | "kv-lease-duration"
  | "disaggregation-bootstrap-timeout"
  | "disaggregation-waiting-timeout";
