// The CLI's side of /admin/v1.

import { join, resolve } from "node:path";
import { CliError, describeError, UsageError } from "./cli-error.ts";
import { readKeys, readRunning, RUNNING_FILE } from "./up/state-dir.ts";

const ADMIN_MS_MAX = 15_000;

export interface AdminAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

export interface AdminCall {
  readonly method: "GET" | "PUT" | "POST";
  /** Under /admin/v1, beginning with a slash. */
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Gives the call up. */
  readonly signal?: AbortSignal;
}

/** A deployment's address and admin key. */
export class AdminClient {
  readonly url: string;
  readonly #key: string;

  constructor(url: string, key: string) {
    this.url = url.replace(/\/+$/, "");
    this.#key = key;
  }

  /** Any status but 401 and 503 without a body is the caller's to judge. */
  async call(call: AdminCall): Promise<AdminAnswer> {
    let response: Response;
    let text: string;
    const deadline = AbortSignal.timeout(ADMIN_MS_MAX);
    try {
      response = await fetch(`${this.url}/admin/v1${call.path}`, {
        method: call.method,
        headers: {
          authorization: `Bearer ${this.#key}`,
          ...(call.body === undefined ? {} : { "content-type": "application/json" }),
          ...call.headers,
        },
        ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
        signal: call.signal === undefined ? deadline : AbortSignal.any([deadline, call.signal]),
        redirect: "error",
      });
      text = await response.text();
    } catch (error) {
      throw new CliError(
        `No answer from ${this.url}: ${describeError(error)}. Is it running? ` +
          "`fairlead up` starts one here; --url names another.",
      );
    }
    if (response.status === 401)
      throw new CliError(
        `${this.url} refused the admin key. Give its FAIRLEAD_ADMIN_KEY in the environment, or --admin-key.`,
      );
    return { status: response.status, headers: response.headers, body: parseBody(text) };
  }
}

function parseBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The message in an OpenAI-shaped error body, or the bare status. */
export function errorMessage(answer: AdminAnswer): string {
  const { body } = answer;
  if (typeof body === "object" && body !== null && "error" in body) {
    const { error } = body;
    if (typeof error === "object" && error !== null && "message" in error)
      return String(error.message);
  }
  return `status ${answer.status}`;
}

/** Flags of every command that talks to a running deployment. */
export const ADMIN_FLAGS = {
  url: { type: "string" },
  "admin-key": { type: "string" },
  "state-dir": { type: "string", default: ".fairlead" },
} as const;

export const ADMIN_FLAGS_USAGE = `  --url URL          base URL of the deployment (default: the one \`fairlead up\` runs here)
  --admin-key KEY    its admin key (default: $FAIRLEAD_ADMIN_KEY, or the one of \`fairlead up\`)
  --state-dir DIR    where \`fairlead up\` keeps its state (default .fairlead)
`;

/** The deployment that the flags name. The local admin key is sent to the local deployment only. */
export function adminClient(flags: {
  readonly url?: string | undefined;
  readonly "admin-key"?: string | undefined;
  readonly "state-dir": string;
}): AdminClient {
  const stateDir = resolve(flags["state-dir"]);
  const running = readRunning(join(stateDir, RUNNING_FILE));
  const url = flags.url ?? running?.url ?? "";
  if (url === "")
    throw new CliError(
      `No Fairlead runs with the state directory ${stateDir}. Start one with \`fairlead up\`, or give --url.`,
    );
  if (URL.parse(url) === null) throw new UsageError(`--url takes a URL, not "${url}".`);
  const isLocal = flags.url === undefined || flags.url.replace(/\/+$/, "") === running?.url;
  const key =
    flags["admin-key"] ??
    process.env["FAIRLEAD_ADMIN_KEY"] ??
    (isLocal ? readKeys(join(stateDir, "keys.json"))?.adminKey : undefined);
  if (key === undefined)
    throw new CliError(`No admin key for ${url}. Set FAIRLEAD_ADMIN_KEY or give --admin-key.`);
  return new AdminClient(url, key);
}
