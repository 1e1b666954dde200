// Prefillers and decoders that behave as an engine family's do, and break where they are told to.

import { once } from "node:events";
import type { ServerResponse } from "node:http";
import type { ConnectorName } from "../../../src/agents/relay/disaggregation/connector.ts";
import {
  runSplitRelay,
  startScriptedEngine,
  type Script,
  type ScriptedEngine,
  type SplitRelay,
  type SplitRelayOptions,
} from "../../agents/support/split-relay.ts";
import { namesIn, PARAMS } from "./leg-table.ts";

/** Both engines are asked at once by these, and a decoder waits for its prefiller. */
export const CONCURRENT: ReadonlySet<ConnectorName> = new Set(["sglang", "mooncake", "offloading"]);

export const BODY = '{"model":"m","max_tokens":50,"stream":true,"seed":12345678901234567890}';
/** As the relay makes it: it asks for usage. */
export const ALONE = BODY.replace("{", '{"stream_options":{"include_usage":true},');
export const DONE =
  'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n';
const PREFILLED = `{"id":"x","choices":[],"kv_transfer_params":${PARAMS}}`;

/** How an engine breaks; undefined behaves as its family does, "hangs at first" from the second leg on. */
export type Trouble =
  | "hangs at first"
  | "400"
  | "429"
  | "500"
  | "503"
  | "hangs"
  | "resets"
  | "resets in the answer"
  | "answers without parameters";

function broken(trouble: Exclude<Trouble, "hangs at first">): Script {
  switch (trouble) {
    case "400":
    case "429":
    case "500":
    case "503":
      return (response) =>
        response
          .writeHead(Number(trouble), { "content-type": "application/json" })
          .end(`{"error":{"message":"${trouble}"}}`);
    case "hangs":
      return () => undefined;
    case "resets":
      return (response) => response.socket!.resetAndDestroy();
    case "resets in the answer":
      return (response) => {
        response.writeHead(200, { "content-type": "application/json" });
        response.write('{"id":"x","choices"', () => response.socket!.resetAndDestroy());
      };
    case "answers without parameters":
      return (response) =>
        response.writeHead(200, { "content-type": "application/json" }).end('{"choices":[]}');
  }
}

/** The engines of one pool: decoders that were given a name answer once its prefill has been done. */
export class SplitPods implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #connector: ConnectorName;
  /** Names of hand-offs whose prefill is done. */
  readonly #met = new Set<string>();
  readonly #waiting = new Set<() => void>();
  prefillers: ScriptedEngine[] = [];
  decoders: ScriptedEngine[] = [];
  relay!: SplitRelay;

  private constructor(connector: ConnectorName) {
    this.#connector = connector;
  }

  /** One engine for each entry: how it breaks, or undefined; "refuses" is a port of nobody. */
  static async start(
    connector: ConnectorName,
    engines: {
      readonly prefill: readonly (Trouble | "refuses" | undefined)[];
      readonly decode: readonly (Trouble | "refuses" | Script | undefined)[];
    },
    options: SplitRelayOptions = {},
  ): Promise<SplitPods> {
    const pods = new SplitPods(connector);
    const labels = { "fairlead/kv-connector": connector };
    const start = async (trouble: Trouble | "refuses" | Script | undefined, works: Script) => {
      const engine = await startScriptedEngine(works, labels);
      if (typeof trouble === "function") engine.script = trouble;
      else if (trouble === "hangs at first") engine.script = () => (engine.script = works);
      else if (trouble !== undefined && trouble !== "refuses") engine.script = broken(trouble);
      if (trouble === "refuses") await engine[Symbol.asyncDispose]();
      else pods.#stack.use(engine);
      return engine;
    };
    for (const trouble of engines.prefill) {
      pods.prefillers.push(await start(trouble, (...args) => pods.#prefill(...args)));
    }
    for (const trouble of engines.decode) {
      pods.decoders.push(await start(trouble, (...args) => pods.#decode(...args)));
    }
    const bootstrap = pods.#stack.use(
      await startScriptedEngine((response) =>
        response
          .writeHead(200, { "content-type": "application/json" })
          .end('{"0":{"engine_id":"engine-0"}}'),
      ),
    );
    pods.relay = pods.#stack.use(
      await runSplitRelay([...pods.prefillers, ...pods.decoders], {
        mooncakePort: Number(bootstrap.address.split(":")[1]),
        ...options,
      }),
    );
    return pods;
  }

  ask(signal?: AbortSignal): Promise<Response> {
    return this.relay.open(
      this.decoders.map(({ address }) => address),
      { prefill: this.prefillers.map(({ address }) => address).join(",") },
      BODY,
      signal === undefined ? {} : { signal },
    );
  }

  /** Value of the counter of prefills that ended like this. */
  prefills(outcome: string): number {
    const labels = `connector="${this.#connector}",outcome="${outcome}"`;
    return this.relay.metric(`fairlead_relay_prefills_total{${labels}}`);
  }

  /** Value of the counter of requests that became this. */
  results(result: string): number {
    const labels = `connector="${this.#connector}",result="${result}"`;
    return this.relay.metric(`fairlead_relay_splits_total{${labels}}`);
  }

  get stranded(): number {
    return this.relay.metric(
      `fairlead_relay_stranded_handoffs_total{connector="${this.#connector}"}`,
    );
  }

  /** Whether a leg is one of a hand-off, and not the request as it came. */
  isPaired(leg: string): boolean {
    return leg !== ALONE;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  #prefill(response: ServerResponse, { text }: { text: string }): void {
    for (const name of namesIn(text)) this.#met.add(name);
    for (const look of this.#waiting) look();
    response.writeHead(200, { "content-type": "application/json" }).end(PREFILLED);
  }

  #decode(response: ServerResponse, { text }: { text: string }): void {
    void this.#meet(response, namesIn(text)).then((hasMet) => {
      if (!hasMet) return;
      response.writeHead(200, { "content-type": "text/event-stream" }).end(DONE);
    });
  }

  /** False if the relay went away before. */
  async #meet(response: ServerResponse, names: readonly string[]): Promise<boolean> {
    const gone = once(response, "close").then(() => false);
    const met = new Promise<boolean>((resolve) => {
      const look = () => {
        if (names.every((name) => this.#met.has(name))) resolve(true);
      };
      this.#waiting.add(look);
      look();
    });
    return Promise.race([met, gone]);
  }
}
