// Endpoints read from a file, which is followed while it changes. The directory is watched rather than
// the file, so that an atomic rename and a ConfigMap's symlink swap are seen; where the platform reports
// nothing (network volumes), the file is looked at each second.

import { watch, type FSWatcher } from "node:fs";
import { open } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { MetricRegistry } from "../../telemetry/metrics.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { Logger } from "../process/logger.ts";
import type { EndpointRecord } from "../protocol/messages.ts";
import type { EndpointListener, EndpointSource } from "./endpoint-source.ts";
import { ENDPOINTS_FILE_BYTES_MAX, parseEndpoints } from "./endpoints-file.ts";

const POLL_INTERVAL_MS = 1_000;
/** A write comes as several events; the file is read once they have settled. */
const SETTLE_MS = 20;

export interface FileSourceOptions {
  readonly path: string;
  readonly logger: Logger;
  readonly registry: MetricRegistry;
}

/** Follows one endpoints file. The last good content stays in force while a new one is bad. */
export class FileSource implements EndpointSource {
  readonly #options: FileSourceOptions;
  readonly #listeners: EndpointListener[] = [];
  #endpoints: readonly EndpointRecord[] = [];
  /** The text that was judged last, good or bad, so that each is logged once. */
  #text: string | undefined;
  #problem: string | undefined;
  #watcher: FSWatcher | undefined;
  #poll: NodeJS.Timeout | undefined;
  #settle: NodeJS.Timeout | undefined;
  #isReading = false;
  #isClosed = false;

  private constructor(options: FileSourceOptions) {
    this.#options = { ...options, path: resolve(options.path) };
  }

  /** Reads the file; rejects, naming every mistake, if it cannot be used. */
  static async start(options: FileSourceOptions): Promise<FileSource> {
    const source = new FileSource(options);
    const problem = await source.#load();
    if (problem !== undefined) throw new Error(problem);
    options.registry.onRender(() => {
      options.registry.set(METRIC.endpointsKnown, {}, source.#endpoints.length);
    });
    source.#follow();
    return source;
  }

  get endpoints(): readonly EndpointRecord[] {
    return this.#endpoints;
  }

  get problem(): string | undefined {
    return this.#problem;
  }

  /** The file is looked at each second: there is no age to tell. */
  get health(): Readonly<Record<string, never>> {
    return {};
  }

  onChange(listener: EndpointListener): void {
    this.#listeners.push(listener);
  }

  close(): void {
    this.#isClosed = true;
    this.#watcher?.close();
    clearInterval(this.#poll);
    clearTimeout(this.#settle);
  }

  #follow(): void {
    try {
      this.#watcher = watch(dirname(this.#options.path), () => {
        clearTimeout(this.#settle);
        this.#settle = setTimeout(() => this.#reload(), SETTLE_MS);
      });
      this.#watcher.on("error", (err) => {
        this.#options.logger.warn({ err }, "cannot watch the endpoints file, polling only");
        this.#watcher?.close();
      });
    } catch (err) {
      // Out of inotify watches.
      this.#options.logger.warn({ err }, "cannot watch the endpoints file, polling only");
    }
    this.#poll = setInterval(() => this.#reload(), POLL_INTERVAL_MS);
  }

  #reload(): void {
    if (this.#isReading || this.#isClosed) return;
    this.#isReading = true;
    const before = this.#problem;
    this.#load().then(
      (problem) => {
        this.#isReading = false;
        this.#problem = problem;
        if (problem === undefined || problem === before) return;
        const kept = this.#endpoints.length;
        this.#options.logger.error(
          { problem, kept },
          "endpoints file not usable, keeping the last",
        );
      },
      () => undefined,
    );
  }

  /** Applies the file if it changed. Gives what is wrong with it; never rejects. */
  async #load(): Promise<string | undefined> {
    const { path, logger } = this.#options;
    const file = await readBounded(path);
    if (!file.ok) {
      this.#text = undefined;
      return `${path}: ${file.problem}`;
    }
    if (file.text === this.#text) return this.#problem;
    this.#text = file.text;
    const parsed = parseEndpoints(file.text);
    if (!parsed.ok) return `${path}: ${parsed.mistakes.join("; ")}`;
    if (JSON.stringify(parsed.endpoints) === JSON.stringify(this.#endpoints)) return undefined;
    this.#endpoints = parsed.endpoints;
    logger.info({ endpoints: parsed.endpoints.length }, "endpoints changed");
    for (const listener of this.#listeners) listener(parsed.endpoints);
    return undefined;
  }
}

type ReadFile =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly problem: string };

async function readBounded(path: string): Promise<ReadFile> {
  try {
    await using file = await open(path);
    const bytes = Buffer.allocUnsafe(ENDPOINTS_FILE_BYTES_MAX + 1);
    let size = 0;
    while (size < bytes.byteLength) {
      const { bytesRead } = await file.read(bytes, size, bytes.byteLength - size);
      if (bytesRead === 0) return { ok: true, text: bytes.toString("utf8", 0, size) };
      size += bytesRead;
    }
    return { ok: false, problem: `larger than ${ENDPOINTS_FILE_BYTES_MAX} bytes` };
  } catch (error) {
    return { ok: false, problem: error instanceof Error ? error.message : String(error) };
  }
}
