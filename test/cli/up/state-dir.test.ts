import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openStateDir, readRunning } from "../../../src/cli/up/state-dir.ts";

let root: string;
let dir: string;
beforeEach(() => {
  root = mkdtempSync("/tmp/state-dir-test-");
  // Socket folders are made here, so that other runs on this machine are not counted.
  vi.stubEnv("TMPDIR", root);
  dir = join(root, "state");
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(root, { recursive: true });
});

describe("openStateDir", () => {
  it("keeps its keys from run to run, readable by the owner only", () => {
    const first = openStateDir(dir);
    first.release();
    const second = openStateDir(dir);
    second.release();
    expect(second.keys).toEqual(first.keys);
    expect(new Set(Object.values(first.keys)).size).toBe(4);
    expect(statSync(join(dir, "keys.json")).mode & 0o777).toBe(0o600);
  });

  it("refuses a directory that a living process holds, and says where that one listens", () => {
    const held = openStateDir(dir);
    const parts = {
      url: "http://127.0.0.1:1234",
      pids: { relay: 7 },
      adminPorts: { relay: 9 },
      clusters: [],
    };
    held.announce(parts);
    expect(readRunning(join(dir, "running.json"))).toMatchObject(parts);
    expect(() => openStateDir(dir)).toThrow(
      new RegExp(`process ${process.pid}, http://127.0.0.1:1234`),
    );
    held.release();
    expect(existsSync(join(dir, "running.json"))).toBe(false);
    expect(existsSync(dirname(held.socketPath))).toBe(false);
  });

  it("gives each coordinator a storage folder of its own, the first one that of an unsplit run", () => {
    const state = openStateDir(dir);
    expect([0, 1, 2].map((ordinal) => state.storageDir(ordinal))).toEqual(
      ["storage", "storage-1", "storage-2"].map((name) => join(dir, name)),
    );
    expect(statSync(state.storageDir(1)).mode & 0o777).toBe(0o700);
    state.release();
  });

  it("takes over from a process that was killed, and removes its socket folder", () => {
    const dead = spawnSync(process.execPath, ["-e", ""]).pid;
    openStateDir(dir).release();
    const socketDir = mkdtempSync(join(tmpdir(), "fairlead-"));
    const running = { pid: dead, url: "", socketDir };
    writeFileSync(join(dir, "running.json"), JSON.stringify(running));
    const state = openStateDir(dir);
    expect(existsSync(socketDir)).toBe(false);
    expect(readRunning(join(dir, "running.json"))?.pid).toBe(process.pid);
    state.release();
  });

  it("never removes a folder that a damaged lock names", () => {
    const precious = mkdtempSync(join(tmpdir(), "precious-"));
    openStateDir(dir).release();
    const running = { pid: 2 ** 22 + 1, url: "", socketDir: precious };
    writeFileSync(join(dir, "running.json"), JSON.stringify(running));
    openStateDir(dir).release();
    expect(existsSync(precious)).toBe(true);
  });

  it("leaves no socket folder behind when it refuses", () => {
    openStateDir(dir).release();
    writeFileSync(join(dir, "keys.json"), "{");
    expect(() => openStateDir(dir)).toThrow("is damaged");
    expect(readdirSync(root)).toEqual(["state"]);
    expect(existsSync(join(dir, "running.json"))).toBe(false);
  });

  it("says which directory it cannot write to", () => {
    writeFileSync(join(root, "file"), "");
    expect(() => openStateDir(join(root, "file", "state"))).toThrow(
      /Cannot write to the state directory .*file\/state/,
    );
  });
});
