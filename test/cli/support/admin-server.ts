// /admin/v1 of a deployment as the CLI sees it, on a real socket, with answers that a test chooses.

import { type ChildProcessWithoutNullStreams, execFile, spawn } from "node:child_process";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

const BIN = fileURLToPath(new URL("../../../src/cli/fairlead.mjs", import.meta.url));

interface Put {
  readonly ifMatch: string | undefined;
  readonly body: unknown;
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

export class AdminServer implements AsyncDisposable {
  /** What GET /config answers, one after another; the last one stays. */
  configs: unknown[] = [];
  /** Paths of GETs of decisions. */
  readonly asked: string[] = [];
  /** What any GET of decisions answers, or what its path makes of it. */
  decisions: unknown = {
    objectEpoch: "e",
    oldestAtMs: null,
    next: null,
    schedulers: [],
    decisions: [],
  };
  /** What GETs of a queue answer, one after another; the last one stays. */
  queues: Answer[] = [];
  /** What GET /pools and POSTs below it answer. */
  pools: Answer = { status: 200, body: { version: 1, pools: [] } };
  /** Paths of POSTs. */
  readonly posts: string[] = [];
  /** What a PUT answers besides its version. */
  putNotes: readonly string[] = [];
  readonly puts: Put[] = [];
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<AdminServer> {
    const server = createServer();
    const admin = new AdminServer(server);
    server.on("request", (request, response) => {
      void admin.#answer(request).then(({ status, body }) => {
        response.statusCode = status;
        response.setHeader("content-type", "application/json");
        response.end(JSON.stringify(body));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return admin;
  }

  /** Runs a command of the CLI against it. */
  run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    return new Promise((resolve) => {
      execFile(process.execPath, this.#commandLine(args), (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
      });
    });
  }

  /** Starts a command that runs until it is told to end. */
  start(...args: string[]): ChildProcessWithoutNullStreams {
    return spawn(process.execPath, this.#commandLine(args));
  }

  #commandLine(args: readonly string[]): string[] {
    const url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return [BIN, ...args, "--url", url, "--admin-key", "admin-key-0123456789"];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage): Promise<Answer> {
    if (request.url!.endsWith("/queue"))
      return this.queues.length > 1 ? this.queues.shift()! : this.queues[0]!;
    if (request.method === "POST") this.posts.push(request.url!);
    if (/\/pools(\/[^/]+\/(un)?drain)?$/.test(request.url!)) return this.pools;
    return { status: 200, body: await this.#found(request) };
  }

  async #found(request: IncomingMessage): Promise<unknown> {
    if (request.url!.includes("/decisions")) {
      this.asked.push(request.url!);
      const { decisions } = this;
      return typeof decisions === "function" ? (decisions(request.url!) as unknown) : decisions;
    }
    if (request.method === "PUT") {
      const body: unknown = JSON.parse(await text(request));
      this.puts.push({ ifMatch: request.headers["if-match"], body });
      const { putNotes: notes } = this;
      return { version: 100, pending: [], ...(notes.length > 0 ? { notes } : {}) };
    }
    return this.configs.length > 1 ? this.configs.shift() : this.configs[0];
  }
}
