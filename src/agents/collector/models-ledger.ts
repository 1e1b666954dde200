// What the object has been told about the models and adapters of every endpoint, and what it has still
// to be told. An endpoint's row is complete; it is sent again only when something in it changed.

import { PROTOCOL_LIMITS } from "../protocol/limits.ts";
import type { ModelsPayload } from "../protocol/messages.ts";
import type { LoraReading } from "./extraction.ts";

/** Names in one frame take at most so many characters, and those of one endpoint more. */
const FRAME_NAME_CHARS = 64 * 1024;

interface EndpointState {
  lora: LoraReading | undefined;
  models: readonly string[] | undefined;
  /** As JSON; "" while the object knows nothing. */
  sent: string;
  /** Changed since it was last compared. */
  isTouched: boolean;
}

/** A frame's payload, and what to say once it has left. */
export interface ModelsFrame {
  readonly payload: ModelsPayload;
  confirm(): void;
}

/** One slot an endpoint of the last MEMBERSHIP, in its order. */
export class ModelsLedger {
  #states: EndpointState[] = [];

  reset(count: number): void {
    this.#states = Array.from({ length: count }, () => ({
      lora: undefined,
      models: undefined,
      sent: "",
      isTouched: false,
    }));
  }

  forgetSent(): void {
    for (const state of this.#states) {
      state.sent = "";
      state.isTouched = true;
    }
  }

  /** Its adapters are gone with the process: the object forgets them, and is told those of the new one. */
  engineRestarted(endpoint: number): void {
    const state = this.#states[endpoint];
    if (state === undefined) return;
    state.lora = undefined;
    state.sent = "";
    state.isTouched = true;
  }

  lora(endpoint: number, lora: LoraReading): void {
    const state = this.#states[endpoint];
    if (state === undefined) return;
    state.lora = lora;
    state.isTouched = true;
  }

  models(endpoint: number, models: readonly string[]): void {
    const state = this.#states[endpoint];
    if (state === undefined) return;
    state.models = models;
    state.isTouched = true;
  }

  /** The next frame of changes, or undefined when the object knows everything. */
  frame(): ModelsFrame | undefined {
    const names = new Names();
    const endpoints: ModelsPayload["endpoints"] = [];
    const confirmations: (() => void)[] = [];
    for (const [endpoint, state] of this.#states.entries()) {
      if (!state.isTouched) continue;
      const { lora, models } = state;
      const said = JSON.stringify([lora, models]);
      const isKnown = said === state.sent || (lora === undefined && models === undefined);
      if (isKnown) {
        state.isTouched = false;
        continue;
      }
      if (names.isFull) break;
      endpoints.push({
        endpoint,
        ...(lora === undefined
          ? {}
          : {
              lora: {
                active: names.indexesOf(lora.active),
                waiting: names.indexesOf(lora.waiting),
                max: lora.max,
              },
            }),
        ...(models === undefined ? {} : { models: names.indexesOf(models) }),
      });
      confirmations.push(() => {
        state.sent = said;
        state.isTouched = false;
      });
    }
    if (endpoints.length === 0) return undefined;
    const confirm = () => confirmations.forEach((confirmOne) => confirmOne());
    return { payload: { names: names.list, endpoints }, confirm };
  }
}

/** The names of one frame. */
class Names {
  readonly list: string[] = [];
  readonly #indexes = new Map<string, number>();
  #chars = 0;

  /** Another endpoint's names might not fit. */
  get isFull(): boolean {
    const ofOne = 3 * PROTOCOL_LIMITS.modelsPerEndpointMax;
    return (
      this.#chars >= FRAME_NAME_CHARS || this.list.length + ofOne > PROTOCOL_LIMITS.modelNamesMax
    );
  }

  indexesOf(names: readonly string[]): number[] {
    return names.map((name) => {
      const known = this.#indexes.get(name);
      if (known !== undefined) return known;
      const index = this.list.push(name) - 1;
      this.#indexes.set(name, index);
      this.#chars += name.length;
      return index;
    });
  }
}
