import { appendFileSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { boundLog } from "../../../src/cli/up/log-size.ts";

describe("boundLog", () => {
  it("empties a log past the bound under its writer's feet, and keeps one copy", async () => {
    const dir = mkdtempSync(join(tmpdir(), "log-size-test-"));
    const file = join(dir, "a.log");
    const writer = openSync(file, "a");
    appendFileSync(file, "x".repeat(100));
    await boundLog(file, 100);
    expect(readFileSync(file, "utf8")).toHaveLength(100);
    writeSync(writer, "y");
    await boundLog(file, 100);
    writeSync(writer, "z");
    expect(readFileSync(file, "utf8")).toBe("z");
    expect(readFileSync(`${file}.1`, "utf8")).toHaveLength(101);
    rmSync(dir, { recursive: true });
    await boundLog(file, 100);
  });
});
