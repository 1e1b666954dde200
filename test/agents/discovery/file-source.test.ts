import { mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FileSource } from "../../../src/agents/discovery/file-source.ts";
import { ENDPOINTS_FILE_BYTES_MAX } from "../../../src/agents/discovery/endpoints-file.ts";
import { MetricRegistry } from "../../../src/telemetry/metrics.ts";
import { captureLogs } from "../support/logs.ts";

const { logger, lines } = captureLogs();
let directory: string;
let path: string;
let source: FileSource | undefined;
const registry = new MetricRegistry();

const text = (...names: string[]) =>
  JSON.stringify({ endpoints: names.map((name) => ({ name, address: name })) });
const ids = () => source!.endpoints.map((endpoint) => endpoint.id);
const start = async () => (source = await FileSource.start({ path, logger, registry }));
const seen = (expected: string[]) =>
  vi.waitFor(() => expect(ids()).toEqual(expected), { timeout: 15_000 });

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "fairlead-endpoints-"));
  path = join(directory, "endpoints.yaml");
  lines.length = 0;
});
afterEach(async () => {
  source?.close();
  source = undefined;
  await rm(directory, { recursive: true });
});

describe("FileSource", () => {
  it("reads the file at the start and follows writes and atomic renames", async () => {
    await writeFile(path, text("a"));
    await start();
    expect(ids()).toEqual(["default/a"]);
    const changes: number[] = [];
    source!.onChange((endpoints) => changes.push(endpoints.length));
    await writeFile(path, text("a", "b"));
    await seen(["default/a", "default/b"]);
    await writeFile(`${path}.new`, text("c"));
    await rename(`${path}.new`, path);
    await seen(["default/c"]);
    await writeFile(`${path}.new`, text("d"));
    await rename(`${path}.new`, path);
    await seen(["default/d"]);
    expect(changes).toEqual([2, 1, 1]);
    expect(registry.render()).toContain("fairlead_endpoints_known 1");
  });

  it("follows the symlink swap of a mounted ConfigMap", async () => {
    await writeFile(join(directory, "v1"), text("a"));
    await writeFile(join(directory, "v2"), text("b"));
    await symlink("v1", join(directory, "data"));
    await symlink("data", path);
    await start();
    await symlink("v2", join(directory, "data.tmp"));
    await rename(join(directory, "data.tmp"), join(directory, "data"));
    await expect.poll(ids, { timeout: 15_000 }).toEqual(["default/b"]);
  });

  it("keeps the last good set while the file is bad or gone, says why once, and recovers", async () => {
    await writeFile(path, text("a"));
    await start();
    await writeFile(path, "endpoints: [{name: a}]");
    await vi.waitFor(() => expect(source!.problem).toMatch(/endpoints\[0\]\.address/), {
      timeout: 15_000,
    });
    expect(ids()).toEqual(["default/a"]);
    await rm(path);
    await vi.waitFor(() => expect(source!.problem).toMatch(/ENOENT/), { timeout: 15_000 });
    expect(ids()).toEqual(["default/a"]);
    // The poll sees the same trouble again and again; the log names each kind once.
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    const errors = lines.filter((line) => line["level"] === "error");
    expect(errors.map((line) => line["problem"])).toHaveLength(2);
    await writeFile(path, text("b"));
    await seen(["default/b"]);
    expect(source!.problem).toBeUndefined();
  });

  it("does not report a change that changes nothing", async () => {
    await writeFile(path, text("a"));
    await start();
    const onChange = vi.fn<() => void>();
    source!.onChange(onChange);
    await writeFile(path, `${text("a")}\n\n`);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(onChange).not.toHaveBeenCalled();
  });

  it("does not start with a file that is missing, bad or too large", async () => {
    await expect(start()).rejects.toThrow(/ENOENT/);
    await writeFile(path, "endpoints: [{}]");
    await expect(start()).rejects.toThrow(/endpoints\[0\]\.name.*endpoints\[0\]\.address/);
    const padding = " ".repeat(ENDPOINTS_FILE_BYTES_MAX - text("a").length);
    await writeFile(path, `${text("a")}${padding} `);
    await expect(start()).rejects.toThrow(/larger than/);
    await writeFile(path, `${text("a")}${padding}`);
    await start();
    expect(ids()).toEqual(["default/a"]);
  });
});
