// An API server of this process, as agents see one: lists in pages, watches in chunks of JSON lines, with
// resource versions, bookmarks, selectors and tokens; and every way it fails. What it says has the form of
// answers recorded from a kube-apiserver of release 1.33.

import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";

export interface KubernetesObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
    resourceVersion?: string;
  };
  readonly [field: string]: unknown;
}

type EventType = "ADDED" | "MODIFIED" | "DELETED";
interface JournalEntry {
  readonly version: number;
  readonly type: EventType;
  readonly path: string;
  readonly object: KubernetesObject;
}

/** What is done with one request in place of an answer; true: it was dealt with. */
export type Fault = (request: URL, response: ServerResponse) => boolean;

interface Watch {
  readonly path: string;
  readonly selects: (object: KubernetesObject) => boolean;
  readonly response: ServerResponse;
}

const POD_PATH = (namespace: string) => `/api/v1/namespaces/${namespace}/pods`;

export class FakeKubernetesApi {
  readonly #server: Server;
  /** By path, then by name. */
  readonly #objects = new Map<string, Map<string, KubernetesObject>>();
  #journal: JournalEntry[] = [];
  readonly #watches = new Set<Watch>();
  #version = 1_000;
  /** Older versions are Gone. */
  #compactedVersion = 0;
  #tokens = 0;
  /** Continue tokens that still hold. */
  readonly #lists = new Map<string, KubernetesObject[]>();
  /** Every request, as `list PATH?QUERY` or `watch PATH?QUERY`. */
  readonly requests: string[] = [];
  /** Bearer token that is asked for; undefined: none. */
  token: string | undefined;
  /** Asked first about every request. */
  fault: Fault | undefined;
  /** How a watch of a version that is Gone is answered. */
  goneBy: "event" | "status" = "event";

  private constructor(server: Server) {
    this.#server = server;
    server.on("request", (request: IncomingMessage, response: ServerResponse) =>
      this.#answer(request, response),
    );
  }

  static async start(tls?: { cert: string; key: string }, port = 0): Promise<FakeKubernetesApi> {
    const server = tls === undefined ? createServer() : createTlsServer(tls);
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return new FakeKubernetesApi(server);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get watchCount(): number {
    return this.#watches.size;
  }

  count(kind: "list" | "watch"): number {
    return this.requests.filter((request) => request.startsWith(`${kind} `)).length;
  }

  /** Adds an object, or replaces the one of its name. */
  put(path: string, object: KubernetesObject): void {
    const objects = this.#at(path);
    const type = objects.has(object.metadata.name) ? "MODIFIED" : "ADDED";
    this.#record(type, path, object);
    objects.set(object.metadata.name, object);
  }

  putPod(pod: KubernetesObject): void {
    this.put(POD_PATH(pod.metadata.namespace), pod);
  }

  remove(path: string, name: string): void {
    const objects = this.#at(path);
    const object = objects.get(name)!;
    objects.delete(name);
    this.#record("DELETED", path, object);
  }

  removePod(name: string, namespace = "llm"): void {
    this.remove(POD_PATH(namespace), name);
  }

  /** Changes without an event: as if the watch had missed it. */
  removeSilently(path: string, name: string): void {
    this.#at(path).delete(name);
  }

  /** Forgets the journal: versions before now are Gone. */
  compact(): void {
    this.#compactedVersion = this.#version;
    this.#journal = [];
    this.#lists.clear();
  }

  /** Goes back to an earlier version, as a store restored from a backup. */
  rewind(version: number): void {
    this.#version = version;
    this.#journal = [];
  }

  bookmark(): void {
    this.#version += 1;
    for (const { response, path } of this.#watches) {
      const kind = path.endsWith("pods") ? "Pod" : "InferencePool";
      const metadata = { resourceVersion: String(this.#version), creationTimestamp: null };
      response.write(line({ type: "BOOKMARK", object: { kind, apiVersion: "v1", metadata } }));
    }
  }

  /** Writes as it is to every watch of objects whose path ends so. */
  write(pathEnd: string, text: string): void {
    for (const { response, path } of this.#watches) {
      if (path.endsWith(pathEnd)) response.write(text);
    }
  }

  /** Ends all watches as a server does whose timeout has passed. */
  endWatches(): void {
    for (const { response } of this.#watches) response.end();
  }

  /** Resets every connection. */
  cut(): void {
    this.#server.closeAllConnections();
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }

  #at(path: string): Map<string, KubernetesObject> {
    const objects = this.#objects.get(path) ?? new Map<string, KubernetesObject>();
    this.#objects.set(path, objects);
    return objects;
  }

  #record(type: EventType, path: string, object: KubernetesObject): void {
    this.#version += 1;
    object.metadata.resourceVersion = String(this.#version);
    const entry = { version: this.#version, type, path, object };
    this.#journal.push(entry);
    for (const watch of this.#watches) this.#tell(watch, entry);
  }

  #tell({ path, selects, response }: Watch, entry: JournalEntry): void {
    if (entry.path !== path || !selects(entry.object)) return;
    const { type, object, version } = entry;
    const metadata = { ...object.metadata, resourceVersion: String(version) };
    response.write(line({ type, object: { ...object, metadata } }));
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url!, "http://api");
    const isWatch = url.searchParams.get("watch") === "1";
    this.requests.push(`${isWatch ? "watch" : "list"} ${url.pathname}${url.search}`);
    if (this.fault?.(url, response) === true) return;
    if (this.token !== undefined && request.headers.authorization !== `Bearer ${this.token}`) {
      return answerStatus(response, 401, "Unauthorized");
    }
    // A path without a resource behind it: its definition is not installed.
    if (!this.#objects.has(url.pathname)) return answerStatus(response, 404, "NotFound");
    if (isWatch) this.#watch(url, response);
    else this.#list(url, response);
  }

  #list(url: URL, response: ServerResponse): void {
    const limit = Number(url.searchParams.get("limit") ?? 500);
    const token = url.searchParams.get("continue");
    const listed =
      token === null
        ? [...this.#at(url.pathname).values()].filter(selector(url))
        : this.#lists.get(token);
    if (listed === undefined) return answerStatus(response, 410, "Expired");
    const rest = listed.slice(limit);
    const next = rest.length === 0 ? "" : `token-${(this.#tokens += 1)}`;
    if (next !== "") this.#lists.set(next, rest);
    const metadata = {
      resourceVersion: String(this.#version),
      ...(next === "" ? {} : { continue: next, remainingItemCount: rest.length }),
    };
    response.writeHead(200, { "content-type": "application/json" });
    const items = listed.slice(0, limit);
    response.end(JSON.stringify({ kind: "List", apiVersion: "v1", metadata, items }));
  }

  #watch(url: URL, response: ServerResponse): void {
    const version = Number(url.searchParams.get("resourceVersion"));
    if (version < this.#compactedVersion && this.goneBy === "status") {
      return answerStatus(response, 410, "Expired");
    }
    if (version > this.#version) return answerStatus(response, 504, "Timeout");
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    if (version < this.#compactedVersion) {
      response.write(line({ type: "ERROR", object: status(410, "Expired") }));
      // As a server does, which leaves it to the client to hang up.
      return;
    }
    const watch = { path: url.pathname, selects: selector(url), response };
    this.#watches.add(watch);
    response.on("close", () => this.#watches.delete(watch));
    for (const entry of this.#journal) if (entry.version > version) this.#tell(watch, entry);
  }
}

export function answerStatus(response: ServerResponse, code: number, reason: string): void {
  response.writeHead(code, { "content-type": "application/json" });
  response.end(JSON.stringify(status(code, reason)));
}

function status(code: number, reason: string) {
  const message = `the fake API server says ${reason}`;
  return { kind: "Status", apiVersion: "v1", status: "Failure", message, reason, code };
}

function line(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}

function selector(url: URL): (object: KubernetesObject) => boolean {
  const labels = (url.searchParams.get("labelSelector") ?? "").split(",").filter(Boolean);
  const name = /^metadata\.name=(.*)$/.exec(url.searchParams.get("fieldSelector") ?? "")?.[1];
  return ({ metadata }) =>
    (name === undefined || metadata.name === name) &&
    labels.every((pair) => {
      const [key, value] = pair.split("=");
      return metadata.labels?.[key!] === value;
    });
}

/** A pod as the API server has it, ready unless told otherwise. */
export function pod(
  name: string,
  ip: string,
  more: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly isReady?: boolean;
    readonly deletionTimestamp?: string;
    readonly namespace?: string;
  } = {},
): KubernetesObject {
  const { labels = {}, annotations = {}, isReady = true, namespace = "llm" } = more;
  const condition = (type: string, is: boolean) => ({
    type,
    status: is ? "True" : "False",
    lastProbeTime: null,
    lastTransitionTime: "2026-03-01T10:00:00Z",
  });
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      namespace,
      labels: { app: "vllm", ...labels },
      annotations,
      ...(more.deletionTimestamp === undefined
        ? {}
        : { deletionTimestamp: more.deletionTimestamp, deletionGracePeriodSeconds: 30 }),
    },
    spec: { nodeName: "node-1", containers: [{ name: "vllm", image: "vllm" }] },
    status: {
      phase: "Running",
      conditions: [condition("Initialized", true), condition("Ready", isReady)],
      ...(ip === "" ? {} : { podIP: ip, podIPs: [{ ip }] }),
    },
  };
}
