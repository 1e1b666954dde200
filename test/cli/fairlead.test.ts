import { spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";

const BIN = fileURLToPath(new URL("../../src/cli/fairlead.mjs", import.meta.url));
const dir = mkdtempSync(join(tmpdir(), "bin-test-"));
afterAll(() => rmSync(dir, { recursive: true }));

function fairlead(args: string[], nodeArgs: string[] = []) {
  const env = { ...process.env, FAIRLEAD_ADMIN_KEY: "" };
  return spawnSync(process.execPath, [...nodeArgs, BIN, ...args], { encoding: "utf8", env });
}

/** Makes this Node call itself an old one. */
function oldNode(): string[] {
  const file = join(dir, "old.cjs");
  writeFileSync(
    file,
    'Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.20.2" } });',
  );
  return ["--require", file];
}

// Every test starts processes, on a machine that may be busy.
describe("fairlead", { timeout: 30_000 }, () => {
  it("prints its commands, and the flags of each", () => {
    const help = fairlead(["help"]);
    expect(help).toMatchObject({ status: 0, stderr: "" });
    for (const command of ["up", "explain", "queue", "pools", "replay", "config"]) {
      expect(help.stdout).toContain(`  ${command} `);
      const usage = fairlead(["help", command]);
      expect(usage.stdout).toMatch(new RegExp(`^Usage: fairlead ${command}`));
    }
    const usage = fairlead(["help", "up"]);
    expect(fairlead(["up", "--help"])).toMatchObject({ status: 0, stdout: usage.stdout });
    expect(fairlead([]).stdout).toBe(help.stdout);
  });

  it.for([
    { args: ["upp"], says: 'There is no command "upp".' },
    { args: ["help", "upp"], says: 'There is no command "upp".' },
    { args: ["up", "--prot", "1"], says: "Unknown option '--prot'" },
    { args: ["config"], says: "config takes check, apply, get or hub" },
    { args: ["config", "check"], says: "FILE is missing." },
    { args: ["explain"], says: "REQUEST_ID is missing." },
    { args: ["replay"], says: "FILE is missing." },
    { args: ["explain", "a", "b"], says: '"b" was not expected.' },
  ])("refuses $args with the usage and status 2", ({ args, says }) => {
    const { status, stderr, stdout } = fairlead(args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toContain(says);
    expect(stderr).toContain("Usage: fairlead");
    expect(stderr).not.toContain("    at ");
  });

  it("keeps what it has compiled, where nobody says otherwise", () => {
    const tell = `import { getCompileCacheDir } from "node:module";
      process.on("exit", () => process.stderr.write(String(getCompileCacheDir())));`;
    const args = ["--import", `data:text/javascript,${encodeURIComponent(tell)}`, BIN, "help"];
    const { NODE_COMPILE_CACHE: _, ...env } = process.env;
    const { stderr } = spawnSync(process.execPath, args, { encoding: "utf8", env });
    expect(stderr).toContain(join("node_modules", ".cache", "node-compile"));
  });

  it("shows the stack of an error only when asked", () => {
    const args = ["config", "check", join(dir, "missing.yaml")];
    const plain = fairlead(args);
    expect(plain.status).toBe(1);
    expect(plain.stderr).toMatch(/^Cannot read .*missing\.yaml: ENOENT[^\n]*\n$/);
    const debug = spawnSync(process.execPath, [BIN, ...args], {
      encoding: "utf8",
      env: { ...process.env, FAIRLEAD_DEBUG: "1" },
    });
    expect(debug.stderr).toContain("    at ");
  });

  it("uses the Node that npm ci installed when it is started by an old one", () => {
    const { status, stdout } = fairlead(["help"], oldNode());
    expect(status).toBe(0);
    expect(stdout).toContain("Usage: fairlead COMMAND");
    expect(fairlead(["upp"], oldNode()).status).toBe(2);
  });

  it("says what to do when there is only an old Node", () => {
    const lonely = join(dir, "fairlead.mjs");
    copyFileSync(BIN, lonely);
    const { status, stderr } = spawnSync(process.execPath, [...oldNode(), lonely, "help"], {
      encoding: "utf8",
    });
    expect(status).toBe(1);
    expect(stderr).toContain("needs Node 22.18 or newer, and this is 20.20.2. Run `npm ci`");
  });
});
