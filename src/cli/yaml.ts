// Files written by people: YAML, of which JSON is a part.

import { parse, YAMLParseError } from "yaml";
import { CliError, describeError } from "./cli-error.ts";

/** Throws a CliError that says where the syntax is wrong, without quoting the file. */
export function parseYamlOrJson(text: string, file: string): unknown {
  try {
    // Pretty errors would print the line, which may hold a secret.
    return parse(text, { prettyErrors: false });
  } catch (error) {
    const line =
      error instanceof YAMLParseError ? `:${text.slice(0, error.pos[0]).split("\n").length}` : "";
    throw new CliError(`${file}${line} is not YAML: ${describeError(error)}.`);
  }
}
