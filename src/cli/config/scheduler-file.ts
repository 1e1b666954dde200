// EndpointPickerConfigs in files of their own, as llm-d's EPP takes them.

import { type ConfigIssue, formatPath } from "../../config/deployment.ts";
import {
  loadSchedulerConfig,
  type LoadOptions,
  type SchedulerConfigIssue,
} from "../../scheduler/config/load.ts";
import type { SchedulerConfig } from "../../scheduler/config/scheduler-config.ts";
import { CliError } from "../cli-error.ts";
import { describeIssues } from "../deployment-file.ts";

/** Told from a deployment by its kind, or else by its sections. */
export function isSchedulerDocument(document: unknown): boolean {
  if (typeof document !== "object" || document === null || Array.isArray(document)) return false;
  if ("kind" in document || "apiVersion" in document) return true;
  const isDeployment = ["version", "pools", "tenants"].some((section) => section in document);
  return !isDeployment && ("plugins" in document || "schedulingProfiles" in document);
}

/** The complete configuration; notes go to stderr. Throws a CliError that lists every mistake. */
export function checkScheduler(
  document: unknown,
  file: string,
  options: LoadOptions,
): SchedulerConfig {
  const { config, issues, notes } = loadSchedulerConfig(document, options);
  if (config === undefined)
    throw new CliError(describeIssues(issues.map(withPath), `${file} has mistakes`));
  printNotes(notes.map(withPath));
  return config;
}

export function printNotes(notes: readonly ConfigIssue[]): void {
  for (const { path, message } of notes)
    process.stderr.write(`note: ${path}: ${message.replace(/\.$/, "")}.\n`);
}

function withPath({ path, message }: SchedulerConfigIssue): ConfigIssue {
  return { path: formatPath(path), message };
}
