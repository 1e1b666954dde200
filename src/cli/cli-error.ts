// What the CLI says when it cannot do what it was asked.

/**
 * Ends a command with a plain message and status 1, without a stack trace. The message says what was
 * wrong, where, and what to do, and never holds a secret.
 */
export class CliError extends Error {
  override readonly name: string = "CliError";
  readonly exitCode: number = 1;
}

/** A wrong command line: the usage of the command is printed below the message. */
export class UsageError extends CliError {
  override readonly name = "UsageError";
  override readonly exitCode = 2;
}

/** Input that cannot be used. Status 2, for a command whose status 1 means something else. */
export class InputError extends CliError {
  override readonly name = "InputError";
  override readonly exitCode = 2;
}

/**
 * Whatever a command failed with, as status 2: for a command whose status 1 is an answer. `what` is what
 * could not be done, as the beginning of a sentence.
 */
export function asInputError(error: unknown, what: string): CliError {
  if (!(error instanceof CliError))
    return new InputError(`${what}: ${describeError(error)}. FAIRLEAD_DEBUG=1 shows where.`, {
      cause: error,
    });
  return error.exitCode === 2 ? error : new InputError(error.message, { cause: error });
}

/** The sentence in an unknown error: Node hides the reason of a failed fetch in its cause. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  if (error.cause instanceof Error) return describeError(error.cause);
  if (error instanceof AggregateError && error.errors.length > 0)
    return describeError(error.errors[0]);
  return error.message === "" ? (code ?? error.name) : error.message;
}
