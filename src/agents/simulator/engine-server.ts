// The HTTP face of one engine: vLLM's OpenAI API, its probes and metrics, and /sim for tests.
//
// /sim is for whoever can reach the engine itself. A router never forwards to it: it serves a list
// of paths, and this is not on it.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { createRng } from "../../scheduler/support/rng.ts";
import { METRICS_CONTENT_TYPE } from "../../telemetry/metrics.ts";
import { closeServer, listen } from "../process/listen.ts";
import type { Logger } from "../process/logger.ts";
import { EngineHandOffs } from "./disaggregation/engine-hand-offs.ts";
import { encoderParams } from "./disaggregation/encoder.ts";
import { begun, requestOf } from "./disaggregation/begin-leg.ts";
import type { EngineHost, RankLookup, ServerPlace } from "./engine-host.ts";
import { EngineRunner } from "./engine-runner.ts";
import * as errors from "./errors.ts";
import { FailureInjector, parseFailures, type Failure } from "./failures.ts";
import { startGeneration } from "./generation.ts";
import { EngineEvents, kvCommandSchema } from "./kv-events/engine-events.ts";
import { runnerConfig, servedModelNames, type SimulatorParameters } from "./parameters.ts";
import { encodeRendering } from "./render.ts";
import { readBody, readJson, sendError, sendJson } from "./http-io.ts";
import { RequestJournal, type JournalEntry } from "./request-journal.ts";
import {
  describe,
  type GenerationRequest,
  parseChat,
  parseText,
  parseTokenize,
} from "./request-schema.ts";

/** uvicorn's, which vLLM keeps: a router must drop idle connections sooner. */
const KEEP_ALIVE_MS = 5_000;
/** Connections of one engine; more are dropped. */
const CONNECTIONS_MAX = 10_000;
const RELISTEN_RETRY_MS = 100;
const DRAIN_SWEEP_MS = 20;
const BYTES_PER_MIB = 1_048_576;
/** Keeps the random numbers of outputs and failures apart from those of timing. */
const OUTPUT_SEED_STEP = 1_000_003;
const FAILURE_SEED_STEP = 2_000_003;
const KV_EVENTS_SEED_STEP = 3_000_017;
/** How long broken requests may take to leave the engine. */
const RESTART_MS_MAX = 2_000;
const RESTART_POLL_MS = 5;

/** As vLLM reads it: which of an engine's ranks is to serve. */
const RANK_HEADER = "x-data-parallel-rank";
type Route = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

export class EngineServer {
  readonly events: EngineEvents;
  readonly #parameters: SimulatorParameters;
  readonly #index: number;
  readonly #logger: Logger;
  readonly host: EngineHost;
  /** Of the rank that a request names; undefined if there is none. */
  readonly #ranks: RankLookup;
  readonly #injector: FailureInjector;
  readonly #journal = new RequestJournal();
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #startedAtMs = Date.now();
  readonly #bodyBytesMax: number;
  readonly #routes: Readonly<Record<string, Readonly<Record<string, Route>>>>;
  #port = 0;
  #relistenTimer: NodeJS.Timeout | undefined;
  #isClosing = false;
  #isRestarting = false;

  constructor(parameters: SimulatorParameters, place: ServerPlace, logger: Logger) {
    const { index } = place;
    this.#parameters = parameters;
    this.#index = index;
    this.events = new EngineEvents(parameters, place);
    this.#logger = logger;
    this.#bodyBytesMax = parameters["max-request-body-size-mb"] * BYTES_PER_MIB;
    const seed = parameters.seed + index;
    const runner = new EngineRunner(
      runnerConfig(parameters),
      createRng(seed),
      this.events.reporter,
    );
    this.#ranks = (header) => (header === undefined ? this.host : place.rankOf(index, header));
    this.host = {
      runner,
      handOffs: new EngineHandOffs(parameters, place.meetings, runner, logger),
      cacheHitThreshold: parameters["global-cache-hit-threshold"],
      mode: parameters.mode,
      loras: parameters["lora-modules"],
      model: servedModelNames(parameters)[0]!,
      rng: createRng(seed + OUTPUT_SEED_STEP),
    };
    this.host.runner.metrics.started(this.#startedAtMs);
    this.#injector = new FailureInjector(
      {
        failures: parameters.failures,
        ratePercent: parameters["failure-injection-rate"],
        types: parameters["failure-types"],
      },
      createRng(seed + FAILURE_SEED_STEP),
    );
    this.#routes = this.#createRoutes();
    this.#server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) => {
      this.#answer(request, response).catch((err: unknown) => this.#fail(response, err));
    });
    this.#server.maxConnections = CONNECTIONS_MAX;
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  /** Starts listening and publishing, and gives the port. */
  async listen(port: number): Promise<number> {
    this.#port = await listen(this.#server, { host: this.#parameters.host, port });
    const rng = createRng(this.#parameters.seed + this.#index + KV_EVENTS_SEED_STEP);
    await this.events.open(this.#port, this.#logger, rng);
    this.#refuseIf(this.#parameters.failures);
    return this.#port;
  }

  /** Stops accepting, lets what is under way end for `drainMs`, and cuts off the rest. */
  async close(drainMs: number): Promise<void> {
    this.#isClosing = true;
    clearTimeout(this.#relistenTimer);
    // A connection whose answer ends now would else be kept alive.
    const sweep = setInterval(() => this.#server.closeIdleConnections(), DRAIN_SWEEP_MS);
    const cutOff = setTimeout(() => this.#server.closeAllConnections(), drainMs);
    await closeServer(this.#server);
    clearInterval(sweep);
    clearTimeout(cutOff);
    this.host.runner.close();
    await this.events.close();
  }

  #createRoutes(): Readonly<Record<string, Readonly<Record<string, Route>>>> {
    return {
      "/health": { GET: (_, response) => void response.end() },
      "/health/ready": { GET: (_, response) => this.#ready(response) },
      "/v1/models": { GET: (_, response) => sendJson(response, 200, this.#models()) },
      "/metrics": {
        GET: (_, response) =>
          void response
            .writeHead(200, { "content-type": METRICS_CONTENT_TYPE })
            .end(this.host.runner.metrics.registry.render()),
      },
      "/tokenize": { POST: (request, response) => this.#tokenize(request, response) },
      "/v1/completions": { POST: (request, response) => this.#generate(request, response) },
      "/v1/chat/completions": { POST: (request, response) => this.#generate(request, response) },
      ...this.#renderRoutes(),
      "/reset_prefix_cache": { POST: (_, response) => this.#resetCache(response) },
      "/sim/kv-cache": {
        GET: (_, response) =>
          sendJson(response, 200, this.events.residency(this.host.runner.engine)),
      },
      "/sim/kv-events": {
        GET: (_, response) => sendJson(response, 200, this.events.state()),
        POST: (request, response) => this.#commandEvents(request, response),
      },
      "/sim/state": { GET: (_, response) => sendJson(response, 200, this.#state()) },
      "/sim/failures": {
        GET: (_, response) => sendJson(response, 200, this.#injector.active),
        POST: (request, response) => this.#setFailures(request, response),
        DELETE: (_, response) => {
          this.#injector.replace([]);
          sendJson(response, 200, []);
        },
      },
    };
  }

  #renderRoutes(): Readonly<Record<string, Readonly<Record<string, Route>>>> {
    if (this.#parameters.render === "off") return {};
    const route: Route = (request, response) => this.#render(request, response);
    return {
      "/v1/completions/render": { POST: route },
      "/v1/chat/completions/render": { POST: route },
    };
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "/").split("?", 1)[0]!;
    const methods = Object.hasOwn(this.#routes, path) ? this.#routes[path]! : undefined;
    if (methods === undefined) return sendError(response, errors.notFound());
    const method = request.method === "HEAD" ? "GET" : request.method!;
    if (!Object.hasOwn(methods, method)) return sendError(response, errors.methodNotAllowed());
    await methods[method]!(request, response);
  }

  #fail(response: ServerResponse, err: unknown): void {
    // A client that goes away while its body is read ends up here too; nobody is left to answer.
    if (response.destroyed || response.headersSent) {
      response.destroy();
      return;
    }
    this.#logger.error({ err }, "request failed");
    sendError(response, errors.internalError());
  }

  #ready(response: ServerResponse): void {
    const ageMs = Date.now() - this.#startedAtMs;
    const readyAtMs = this.#parameters["startup-duration"] * this.#parameters["time-scale"];
    response.writeHead(ageMs >= readyAtMs ? 200 : 503).end();
  }

  #models() {
    const created = Math.floor(this.#startedAtMs / 1_000);
    const entry = (id: string, parent: string | null) => ({
      id,
      object: "model",
      created,
      owned_by: "vllm",
      root: parent === null ? this.#parameters.model : id,
      parent,
      max_model_len: this.#parameters["max-model-len"],
    });
    const loras = this.host.loras.map((id) => entry(id, this.host.model));
    const models = servedModelNames(this.#parameters).map((id) => entry(id, null));
    return { object: "list", data: [...models, ...loras] };
  }

  #state() {
    const { engine, counts } = this.host.runner;
    return {
      running: engine.runningCount,
      waiting: engine.waitingCount,
      kvUsage: engine.cache.inUseCount / engine.cache.size,
      blocksInUse: engine.cache.inUseCount,
      blocksFindable: engine.cache.findableCount,
      held: engine.heldCount,
      ...counts,
      connections: this.#sockets.size,
      requests: this.#journal.entries,
    };
  }

  async #tokenize(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readJson(request, response, this.#bodyBytesMax);
    if (body === undefined) return;
    const parsed = parseTokenize(body.json);
    if (!parsed.ok) return sendError(response, parsed.error);
    const { model, tokens, areTextsReturned } = parsed.value;
    if (model !== undefined && !this.#isServed(model)) {
      return sendError(response, errors.modelNotFound(model));
    }
    sendJson(response, 200, {
      count: tokens.length,
      max_model_len: this.#parameters["max-model-len"],
      tokens: tokens.map((token) => token.id),
      token_strs: areTextsReturned ? tokens.map((token) => token.text) : null,
    });
  }

  async #render(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readJson(request, response, this.#bodyBytesMax);
    if (body === undefined) return;
    const isText = request.url!.startsWith("/v1/completions/");
    const parsed = isText ? parseText(body.json) : parseChat(body.json);
    if (!parsed.ok) return sendError(response, parsed.error);
    if (!this.#isServed(parsed.value.model)) {
      return sendError(response, errors.modelNotFound(parsed.value.model));
    }
    sendJson(response, 200, encodeRendering(parsed.value));
  }

  #isServed(model: string): boolean {
    return this.host.loras.includes(model) || servedModelNames(this.#parameters).includes(model);
  }

  /** As in vLLM, only an engine that runs nothing forgets. */
  #resetCache(response: ServerResponse): void {
    if (!this.host.runner.engine.forgetCached()) {
      return sendError(response, errors.conflict("Blocks are in use; the cache stays as it is."));
    }
    this.events.reporter.cleared();
    response.end();
  }

  async #commandEvents(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readJson(request, response, this.#bodyBytesMax);
    if (body === undefined) return;
    const parsed = kvCommandSchema.safeParse(body.json);
    if (!parsed.success) return sendError(response, describe(parsed.error));
    if (parsed.data.action !== "restart") this.events.inject(parsed.data);
    else if (this.#isRestarting) {
      return sendError(response, errors.conflict("The engine is restarting already."));
    } else {
      this.#isRestarting = true;
      const isDone = await this.#restart(response).finally(() => (this.#isRestarting = false));
      if (!isDone) return sendError(response, errors.conflict("Requests did not end in time."));
    }
    sendJson(response, 200, this.events.state());
  }

  /** Breaks every connection but the one of `response`, and forgets what the cache held. */
  async #restart(response: ServerResponse): Promise<boolean> {
    for (const socket of this.#sockets) {
      if (socket !== response.socket) socket.resetAndDestroy();
    }
    const { engine, metrics } = this.host.runner;
    this.host.runner.releaseAll();
    const deadlineMs = performance.now() + RESTART_MS_MAX;
    // Requests leave the engine when their connections tell that they have closed.
    while (!engine.forgetCached()) {
      if (performance.now() > deadlineMs) return false;
      await sleep(RESTART_POLL_MS);
    }
    metrics.started(Date.now());
    await this.events.restart();
    return true;
  }

  async #generate(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const entry = this.#journal.record(request, response, (ended) => this.#log(ended));
    const body = await readJson(request, response, this.#bodyBytesMax);
    if (body === undefined || response.destroyed) return;
    const injection = this.#injector.draw();
    entry.failure = injection?.kind;
    if (injection?.kind === "error") return sendError(response, injection.error);
    const parsed = entry.path === "/v1/completions" ? parseText(body.json) : parseChat(body.json);
    if (!parsed.ok) return sendError(response, parsed.error);
    if (!this.#isServed(parsed.value.model)) {
      return sendError(response, errors.modelNotFound(parsed.value.model));
    }
    const host = this.#ranks(request.headers[RANK_HEADER]);
    if (host === undefined) return sendError(response, errors.badRequest("No such rank."));
    const leg = host.handOffs.legOf(body.json, entry.requestId);
    if (leg !== undefined && "status" in leg) return sendError(response, leg);
    entry.leg = leg?.stage;
    const generation = requestOf(parsed.value, request, leg);
    const refusal = await begun(leg, response);
    if (refusal !== undefined) return sendError(response, refusal);
    if (response.destroyed) return;
    const extras = this.#extras(generation);
    const target = { response, entry, injection, leg, extras };
    const error = startGeneration(host, generation, target);
    if (error === undefined) return;
    leg?.closed();
    sendError(response, error);
  }

  /** An encoder's answer says where its embeddings are. */
  #extras({ prompts }: GenerationRequest): object {
    if (this.#parameters.role !== "encode") return {};
    const items = prompts.flatMap((prompt) => prompt.items);
    return encoderParams(items, { host: this.#parameters.host, port: this.#port });
  }

  #log(entry: JournalEntry): void {
    const { headers: _, receivedAtMs, ...fields } = entry;
    const durationMs = Date.now() - receivedAtMs;
    this.#logger.info({ engine: this.#index, ...fields, durationMs }, "request");
  }

  async #setFailures(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readBody(request, response, this.#bodyBytesMax);
    if (body === undefined) return;
    const parsed = parseFailures(body.toString("utf8"));
    if (!parsed.ok) return sendError(response, errors.badRequest(parsed.message));
    this.#injector.replace(parsed.value);
    response.on("finish", () => this.#refuseIf(parsed.value));
    sendJson(response, 200, parsed.value);
  }

  #refuseIf(failures: readonly Failure[]): void {
    const refuse = failures.find((failure) => failure.kind === "refuse");
    if (refuse === undefined || this.#isClosing) return;
    clearTimeout(this.#relistenTimer);
    this.#server.close();
    for (const socket of this.#sockets) socket.resetAndDestroy();
    this.#relistenTimer = setTimeout(() => this.#relisten(), refuse.delayMs);
  }

  #relisten(): void {
    if (this.#isClosing) return;
    listen(this.#server, { host: this.#parameters.host, port: this.#port }).catch(
      (err: unknown) => {
        // Somebody may have been given our port meanwhile; it comes back with them.
        this.#logger.warn({ err, engine: this.#index }, "cannot listen again yet");
        this.#relistenTimer = setTimeout(() => this.#relisten(), RELISTEN_RETRY_MS);
      },
    );
  }
}
