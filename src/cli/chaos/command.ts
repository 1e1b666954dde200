// `fairlead chaos`: does something to a part of a run, and tells what clients saw of it.

import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { AdminClient } from "../admin-client.ts";
import { asInputError, InputError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import type { Cluster } from "../up/running-cluster.ts";
import { readKeys, readRunning, RUNNING_FILE, type Keys, type Running } from "../up/state-dir.ts";
import { type Account, accountOf, tallyOf } from "./account.ts";
import { CHAOS_USAGE, type ChaosOptions, parseChaosOptions } from "./options.ts";
import { type Done, RunClient } from "./run-client.ts";
import { describeAccount, tableHead, tableRow } from "./table.ts";
import { deedOf } from "./targets.ts";
import { Traffic } from "./traffic.ts";

export const chaosCommand: Command = {
  usage: CHAOS_USAGE,
  async run(args) {
    const options = parseChaosOptions(args);
    try {
      const account = await disturb(options, findRun(options));
      return account.holds ? 0 : 1;
    } catch (error) {
      throw asInputError(error, "It could not be tried");
    }
  },
};

interface Found {
  readonly running: Running;
  readonly keys: Keys;
  /** undefined for the directory. */
  readonly cluster: Cluster | undefined;
}

function findRun({ stateDir, target }: ChaosOptions): Found {
  const dir = resolve(stateDir);
  const running = readRunning(join(dir, RUNNING_FILE));
  const keys = readKeys(join(dir, "keys.json"));
  if (running === undefined || keys === undefined || running.clusters.length === 0)
    throw new InputError(
      `No clusters run with the state directory ${dir}. Start some with \`fairlead up --clusters 3\`.`,
    );
  if (target.part === "directory") return { running, keys, cluster: undefined };
  const cluster = running.clusters.find(({ name }) => name === target.cluster);
  if (cluster === undefined) {
    const names = running.clusters.map(({ name }) => name).join(", ");
    throw new InputError(`There is no ${target.cluster}; there are ${names}.`);
  }
  return { running, keys, cluster };
}

async function disturb(options: ChaosOptions, found: Found): Promise<Account> {
  const { running, keys, cluster } = found;
  const deed = deedOf(options, cluster);
  const stop = new AbortController();
  const { signal } = stop;
  const onSignal = () => stop.abort();
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
  const client = new RunClient(running, new AdminClient(running.url, keys.adminKey), signal);
  const traffic = new Traffic({
    url: running.url,
    key: keys.key,
    model: await firstModel(running.url, keys.key),
    clusterOf: endpointsOf(running.clusters),
    ratePerS: options.ratePerS,
    streams: options.streams,
  });
  const clusters = running.clusters.map(({ name }) => name);
  const ticker = showSeconds(traffic, clusters, options.isJson);
  let done: Done | undefined;
  let returnedMs: number | null = null;
  try {
    const flowing = traffic.run(options.durationMs, signal);
    await sleep(options.beforeMs, undefined, { signal }).catch(() => {});
    const actedMs = traffic.nowMs;
    if (!signal.aborted) done = await client.do(deed, options.forMs);
    const returning = done?.returned.then(() => (returnedMs = traffic.nowMs));
    // An interruption ends the waiting for it.
    returning?.catch(() => {});
    await flowing;
    const account = accountOf(
      traffic.seen,
      { actedMs, returnedMs, endMs: Math.min(options.durationMs, traffic.nowMs) },
      cluster?.name,
    );
    print(account, { options, clusters, actedMs, returnedMs });
    return account;
  } finally {
    clearInterval(ticker);
    stop.abort();
    // What stays was asked to.
    if (returnedMs === null && options.forMs !== null) await done?.undo();
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
}

function endpointsOf(clusters: readonly Cluster[]): Map<string, string> {
  return new Map(
    clusters.flatMap(({ name, endpoints }) => endpoints.map((address) => [address, name] as const)),
  );
}

async function firstModel(url: string, key: string): Promise<string> {
  const headers = { authorization: `Bearer ${key}` };
  const response = await fetch(`${url}/v1/models`, { headers });
  const { data } = (await response.json()) as { data?: { id?: string }[] };
  const model = data?.[0]?.id;
  if (model === undefined) throw new InputError(`${url} serves no model.`);
  return model;
}

/** A line each second, of what ended in it. */
function showSeconds(
  traffic: Traffic,
  clusters: readonly string[],
  isJson: boolean,
): NodeJS.Timeout {
  let shown = 0;
  let second = 0;
  if (!isJson) process.stdout.write(`${tableHead(clusters)}\n`);
  return setInterval(() => {
    const tally = tallyOf(traffic.seen.slice(shown));
    shown = traffic.seen.length;
    second++;
    const line = isJson
      ? JSON.stringify({ second, ...tally })
      : tableRow(String(second), tally, clusters);
    process.stdout.write(`${line}\n`);
  }, 1_000);
}

function print(
  account: Account,
  of: {
    readonly options: ChaosOptions;
    readonly clusters: readonly string[];
    readonly actedMs: number;
    readonly returnedMs: number | null;
  },
): void {
  const { options, clusters, actedMs, returnedMs } = of;
  const { action, targetText, mode, ratePerS, isJson } = options;
  const how = action === "cut" ? ` (${mode})` : "";
  const told = { deed: `${action} ${targetText}${how}`, clusters, ratePerS, actedMs, returnedMs };
  process.stdout.write(
    isJson
      ? `${JSON.stringify({ report: { ...told, ...account } })}\n`
      : describeAccount(account, told),
  );
}
