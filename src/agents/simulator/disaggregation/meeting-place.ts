// What the engines of one process share to hand prompts over: names, ports, and a client to others.

import type { SimulatorParameters } from "../parameters.ts";
import { HandOffs } from "./hand-offs.ts";
import { PeerClient } from "./peer-client.ts";
import { type BootstrapEngine, SideChannel } from "./side-channel.ts";

/** SGLang's and Mooncake's own. */
const BOOTSTRAP_PORT_DEFAULT = 8_998;

export class MeetingPlace {
  readonly handOffs = new HandOffs();
  readonly client = new PeerClient();
  readonly sideChannel = new SideChannel(this.handOffs);
  readonly #parameters: SimulatorParameters;
  readonly #engines: BootstrapEngine[] = [];
  #bootstrap: SideChannel | undefined;

  constructor(parameters: SimulatorParameters) {
    this.#parameters = parameters;
  }

  /** Undefined where there is none. */
  get bootstrapPort(): number | undefined {
    return this.#bootstrap?.port;
  }

  /**
   * Told of each engine, so that the bootstrap port can tell of it. Engines of this process share the port,
   * which in earnest each has for itself: it tells of the ranks that any one of them has.
   */
  add(engine: BootstrapEngine): void {
    if (this.#engines.length < this.#parameters["data-parallel-size"]) this.#engines.push(engine);
  }

  async open(): Promise<void> {
    const { host } = this.#parameters;
    await this.sideChannel.listen(host, this.#parameters["side-channel-port"]);
    const isPrefill = this.#parameters["disaggregation-mode"] === "prefill";
    const given = this.#parameters["disaggregation-bootstrap-port"];
    const port = given === 0 && isPrefill ? BOOTSTRAP_PORT_DEFAULT : given;
    if (port === 0) return;
    const bootstrap = new SideChannel(this.handOffs, this.#engines);
    await bootstrap.listen(host, port);
    this.#bootstrap = bootstrap;
  }

  async close(): Promise<void> {
    await Promise.all([this.sideChannel.close(), this.#bootstrap?.close(), this.client.close()]);
  }
}
