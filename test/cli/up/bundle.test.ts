import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bundleWorker } from "../../../src/cli/up/bundle.ts";

let dir: string;
let cacheDir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "bundle-test-"));
  cacheDir = join(dir, "cache");
  write("part.ts", "export const answer: number = 1;");
  write("entry.ts", 'import { answer } from "./part.ts"; export default answer;');
  write("lock", "1");
});
afterEach(() => rmSync(dir, { recursive: true }));

let secondsAgo = 10_000;
/** A source of another time than any before it, and older than what is built of it. */
function write(name: string, text: string): void {
  writeFileSync(join(dir, name), text);
  const atS = Date.now() / 1_000 - secondsAgo--;
  utimesSync(join(dir, name), atS, atS);
}

const kept = () =>
  existsSync(cacheDir) ? readdirSync(cacheDir).filter((name) => name !== "inputs.json") : [];

/** The bundle; `isKept` where it is the one of before, which is marked. */
async function bundle(of = "entry.ts"): Promise<{ text: string; isKept: boolean }> {
  const outFile = join(dir, "out", "worker.js");
  rmSync(join(dir, "out"), { recursive: true, force: true });
  mkdirSync(join(dir, "out"));
  const entry = join(dir, of);
  await bundleWorker(outFile, { entry, cacheDir, besides: [join(dir, "lock")] });
  const text = readFileSync(outFile, "utf8");
  expect(readFileSync(`${outFile}.map`, "utf8")).toContain("part.ts");
  for (const name of kept()) writeFileSync(join(cacheDir, name, "worker.js"), `${text}// kept`);
  return { text, isKept: text.endsWith("// kept") };
}

describe("bundleWorker", () => {
  it("takes the bundle of the last time while nothing has changed", async () => {
    expect(await bundle()).toMatchObject({ isKept: false });
    expect(await bundle()).toMatchObject({ isKept: true });
  });

  it.for(["part.ts", "entry.ts", "lock"])("builds anew when %s has changed", async (name) => {
    await bundle();
    write(name, readFileSync(join(dir, name), "utf8"));
    expect(await bundle()).toMatchObject({ isKept: false });
    expect(await bundle()).toMatchObject({ isKept: true });
    expect(kept()).toHaveLength(1);
  });

  it("takes no bundle of another checkout, which may share its modules", async () => {
    write("other.ts", 'import { answer } from "./part.ts"; export default -answer;');
    await bundle();
    expect((await bundle("other.ts")).text).toContain("-answer");
    expect(kept()).toHaveLength(1);
  });

  it("has what a changed part says", async () => {
    await bundle();
    write("part.ts", "export const answer: number = 22;");
    expect((await bundle()).text).toContain("answer = 22");
  });

  it("keeps nothing that may be older than a source", async () => {
    const atS = Date.now() / 1_000 + 60;
    utimesSync(join(dir, "part.ts"), atS, atS);
    await bundle();
    expect(await bundle()).toMatchObject({ isKept: false });
  });

  it("builds without a place to keep it", async () => {
    writeFileSync(cacheDir, "a file");
    const outFile = join(dir, "worker.js");
    await bundleWorker(outFile, { entry: join(dir, "entry.ts"), cacheDir, besides: [] });
    expect(readFileSync(outFile, "utf8")).toContain("answer = 1");
  });

  it("says why it cannot be built", async () => {
    write("entry.ts", 'import "./nothing.ts";');
    await expect(bundle()).rejects.toThrow(/The Worker could not be built: .*nothing\.ts/s);
  });
});
