import { describe, expect, it } from "vitest";
import { asInputError, CliError, InputError, UsageError } from "../../src/cli/cli-error.ts";

describe("asInputError", () => {
  it("gives whatever went wrong status 2, and a sentence", () => {
    const bug = new TypeError("x is undefined");
    expect(asInputError(bug, "It failed")).toMatchObject({
      exitCode: 2,
      message: "It failed: x is undefined. FAIRLEAD_DEBUG=1 shows where.",
      cause: bug,
    });
    expect(asInputError("odd", "It failed")).toMatchObject({ exitCode: 2 });
    const plain = asInputError(new CliError("No answer."), "It failed");
    expect(plain).toMatchObject({ exitCode: 2, message: "No answer." });
  });

  it("leaves alone what has status 2: usage is printed below some", () => {
    for (const error of [new UsageError("--x"), new InputError("y")])
      expect(asInputError(error, "It failed")).toBe(error);
  });
});
