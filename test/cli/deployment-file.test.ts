import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { CliError } from "../../src/cli/cli-error.ts";
import { readDeployment } from "../../src/cli/deployment-file.ts";

const dir = mkdtempSync(join(tmpdir(), "config-test-"));
afterAll(() => rmSync(dir, { recursive: true }));

const GOOD = `
version: 1
pools:
  - name: eu-1
    region: eu
    models: [llama]
    agentToken: agent-token-of-at-least-16
    relays: [{ url: "http://127.0.0.1:9100", keys: [{ id: k1, secret: secret-of-at-least-16 }] }]
tenants:
  - { id: acme, keys: [sk-acme-0123456789] }
`;

async function read(text: string): Promise<unknown> {
  const file = join(dir, "fairlead.yaml");
  writeFileSync(file, text);
  return readDeployment(file);
}

async function complaint(text: string): Promise<string> {
  const error = await read(text).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(CliError);
  return (error as CliError).message;
}

describe("readDeployment", () => {
  it("reads YAML, and JSON as a part of it", async () => {
    await expect(read(GOOD)).resolves.toMatchObject({ pools: [{ name: "eu-1" }] });
    const json = '{ "version": 1, "pools": [], "tenants": [] }';
    await expect(read(json)).resolves.toMatchObject({ pools: [] });
  });

  it("lists every mistake with its path", async () => {
    const message = await complaint(
      GOOD.replace("region: eu", "regoin: eu").replace("sk-acme-0123456789", "short"),
    );
    expect(message).toMatch(/fairlead\.yaml has mistakes:\n/);
    expect(message).toMatch(/^ {2}pools\[0\]\.region: /m);
    expect(message).toMatch(/^ {2}pools\[0\]: .*regoin/m);
    expect(message).toMatch(/^ {2}tenants\[0\]\.keys\[0\]: /m);
  });

  it("names the line of a syntax error without quoting it", async () => {
    const message = await complaint(GOOD.replace("[llama]", "[llama, secret-on-this-line"));
    expect(message).toMatch(/fairlead\.yaml:\d+ is not YAML: /);
    expect(message).not.toContain("secret-on-this-line");
  });
});
