// A deployment's configuration in a file.

import { readFile } from "node:fs/promises";
import { parseDeployment, type Deployment } from "../config/deployment.ts";
import { CliError, describeError } from "./cli-error.ts";
import { parseYamlOrJson } from "./yaml.ts";

/** Reads a configuration. Throws a CliError that lists every mistake. */
export async function readDeployment(file: string): Promise<Deployment> {
  return checkDeployment(await readDocument(file), file);
}

/** Reads a file as it is, so that what is sent has no defaults filled in. */
export async function readDocument(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    throw new CliError(`Cannot read ${file}: ${describeError(error)}.`);
  }
  return parseYamlOrJson(text, file);
}

export function checkDeployment(document: unknown, file: string): Deployment {
  const parsed = parseDeployment(document);
  if (!parsed.ok) throw new CliError(describeIssues(parsed.issues, `${file} has mistakes`));
  return parsed.value;
}

/** A line a mistake. */
export function describeIssues(
  issues: readonly { readonly path: string; readonly message: string }[],
  heading: string,
): string {
  const lines = issues.map(
    ({ path, message }) => `  ${path === "" ? "the document" : path}: ${message}`,
  );
  return `${heading}:\n${lines.join("\n")}`;
}
