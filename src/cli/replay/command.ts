// `fairlead replay`: takes an explained decision again, with the code that is here.

import { createReadStream } from "node:fs";
import type { SchedulerConfig } from "../../scheduler/config/scheduler-config.ts";
import { replayAttempt } from "../../scheduler/decisions/replay.ts";
import {
  type DocumentIssue,
  parseReplayable,
  parseScheduler,
  type ReplayableDocument,
} from "../../scheduler/decisions/replay-document.ts";
import { asInputError, CliError, describeError, InputError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { parseFlags, positionals } from "../flags.ts";
import { parseYamlOrJson } from "../yaml.ts";
import { type ReplayedRequest, renderReplay } from "./report.ts";

/** A document of 16 attempts with 64 candidates has about one. */
const FILE_BYTES_MAX = 16 * 1024 * 1024;
/** Mistakes listed; a document that was cut or edited can have thousands. */
const ISSUES_MAX = 10;

const USAGE = `Usage: fairlead replay FILE [flags]

Takes a decision again, from what \`fairlead explain REQUEST_ID --json\` printed into FILE (- for
stdin): the same endpoints with the same loads and caches, the same clock and random seed, the real
scheduler. Nothing is asked of any deployment. Exits with 1 if it now chooses otherwise, and with 2
if FILE cannot be replayed.

  --config FILE      decide with another configuration instead, and exit with 0: a \`scheduler\` part
                     of fairlead.yaml, or a whole one, of which the pool's is taken
  --json             print the replay as JSON
`;

export const replayCommand: Command = {
  usage: USAGE,
  async run(args) {
    const options = {
      config: { type: "string" },
      json: { type: "boolean", default: false },
    } as const;
    const parsed = parseFlags(args, options);
    const [file] = positionals(parsed.positionals, ["FILE"]);
    const { config, json } = parsed.values;
    if (file === "-" && config === "-") throw new InputError("Only one file can be stdin.");
    const document = await readReplayable(file!);
    const other = config === undefined ? undefined : await readScheduler(config, document.pool);
    const replayed = replayOrThrow(document, other);
    process.stdout.write(
      json
        ? `${JSON.stringify(replayed, null, 2)}\n`
        : renderReplay(replayed, { hasOtherConfig: other !== undefined }),
    );
    return replayed.isSame || other !== undefined ? 0 : 1;
  },
};

/** A replay that fails is no other choice, which is what status 1 says. */
function replayOrThrow(
  document: ReplayableDocument,
  other: SchedulerConfig | undefined,
): ReplayedRequest {
  try {
    return replayAll(document, other);
  } catch (error) {
    throw asInputError(error, "The replay failed");
  }
}

function replayAll(
  { requestId, pool, attempts }: ReplayableDocument,
  other: SchedulerConfig | undefined,
): ReplayedRequest {
  const replays = attempts.map((recorded) => {
    const { attempt, chosen, dropped, stages, candidates } = recorded;
    const { isSame, replayed, notes } = replayAttempt(recorded, other);
    const ranks = candidates.map(({ id, rank, total }) => ({ id, rank, total }));
    return {
      attempt,
      isSame,
      recorded: { chosen, dropped, stages, candidates: ranks },
      replayed,
      notes,
    };
  });
  return { requestId, pool, isSame: replays.every(({ isSame }) => isSame), attempts: replays };
}

async function readReplayable(file: string): Promise<ReplayableDocument> {
  const text = await readInput(file);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new InputError(
      `${nameOf(file)} is not JSON: ${describeError(error)}. Is it what \`fairlead explain REQUEST_ID ` +
        "--json` printed, and all of it?",
    );
  }
  const parsed = parseReplayable(json);
  if (parsed.ok) return parsed.value;
  throw new InputError(describeIssues(parsed.issues, `${nameOf(file)} cannot be replayed`));
}

/** The scheduler of a file: the file itself, or what it has for `pool`. */
async function readScheduler(file: string, pool: string): Promise<SchedulerConfig> {
  const document = await readYaml(file);
  const { part, path } = schedulerPartOf(document, { pool, file });
  const parsed = parseScheduler(part, path);
  if (parsed.ok) return parsed.value;
  throw new InputError(describeIssues(parsed.issues, `${nameOf(file)} has mistakes`));
}

async function readYaml(file: string): Promise<unknown> {
  try {
    return parseYamlOrJson(await readInput(file), nameOf(file));
  } catch (error) {
    throw error instanceof CliError ? new InputError(error.message) : error;
  }
}

function schedulerPartOf(
  document: unknown,
  { pool, file }: { readonly pool: string; readonly file: string },
): { part: unknown; path: string } {
  if (isObject(document) && "scheduler" in document)
    return { part: document["scheduler"], path: "scheduler" };
  if (!isObject(document) || !Array.isArray(document["pools"])) return { part: document, path: "" };
  const pools: unknown[] = document["pools"];
  const index = pools.findIndex((one) => isObject(one) && one["name"] === pool);
  if (index < 0) throw new InputError(`${nameOf(file)} has no pool named ${pool}.`);
  const found = pools[index] as Record<string, unknown>;
  return { part: found["scheduler"] ?? {}, path: `pools[${index}].scheduler` };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

async function readInput(file: string): Promise<string> {
  try {
    return await readBounded(file === "-" ? process.stdin : createReadStream(file));
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new InputError(`Cannot read ${nameOf(file)}: ${describeError(error)}.`);
  }
}

async function readBounded(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.length;
    if (bytes > FILE_BYTES_MAX)
      throw new InputError(`A file to replay has at most ${FILE_BYTES_MAX / 1024 / 1024} MiB.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function nameOf(file: string): string {
  return file === "-" ? "stdin" : file;
}

function describeIssues(issues: readonly DocumentIssue[], heading: string): string {
  const lines = issues
    .slice(0, ISSUES_MAX)
    .map(({ path, message }) => `  ${path === "" ? "the document" : path}: ${message}`);
  if (issues.length > ISSUES_MAX) lines.push(`  and ${issues.length - ISSUES_MAX} more`);
  return `${heading}:\n${lines.join("\n")}`;
}
