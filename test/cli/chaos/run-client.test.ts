import { mkdtempSync, rmSync } from "node:fs";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { AdminClient } from "../../../src/cli/admin-client.ts";
import { RunClient } from "../../../src/cli/chaos/run-client.ts";
import { CliError } from "../../../src/cli/cli-error.ts";
import { controlPathIn } from "../../../src/cli/up/state-dir.ts";

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

/** Of a run whose `fairlead up` answers so. */
async function clientOf(answer: RequestListener): Promise<RunClient> {
  const socketDir = mkdtempSync(join(tmpdir(), "chaos-"));
  stack.defer(() => rmSync(socketDir, { recursive: true }));
  const server = createServer(answer).listen(controlPathIn(socketDir));
  stack.defer(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  await once(server, "listening");
  const url = "http://127.0.0.1:1";
  const running = { pid: 1, url, socketDir, pids: {}, adminPorts: {}, clusters: [] };
  return new RunClient(running, new AdminClient(url, "key"), new AbortController().signal);
}

const kill = { by: "up", names: ["relay"], do: "kill" } as const;

describe("what `fairlead up` answers to an order", () => {
  it("is done when it is whole", async () => {
    const client = await clientOf((_, response) => response.end('{"relay":"ready"}'));
    const done = await client.do(kill, 1);
    await expect(done.returned).resolves.toBeUndefined();
  });

  const broken: Readonly<Record<string, { answer: RequestListener; says: RegExp }>> = {
    "is no JSON": {
      answer: (_, response) => response.end('{"relay":'),
      says: /fairlead up answered what is not JSON: \{"relay":/,
    },
    "breaks off": {
      answer(_, response) {
        response.writeHead(200, { "content-length": 1_000 }).write("{}");
        setTimeout(() => response.destroy(), 20);
      },
      says: /No answer from fairlead up: /,
    },
    "has no end": {
      answer: (_, response) => response.end(`"${"x".repeat(2 * 1024 * 1024)}"`),
      says: /No answer from fairlead up: it is longer than/,
    },
    "is a refusal": {
      answer: (_, response) => response.writeHead(400).end("no such process"),
      says: /fairlead up answered 400: no such process/,
    },
  };
  it.for(Object.keys(broken))("is an error of the command line where it %s", async (how) => {
    const { answer, says } = broken[how]!;
    const failed: unknown = await (
      await clientOf(answer)
    )
      .do(kill, 1)
      .catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(CliError);
    expect((failed as CliError).message).toMatch(says);
  });
});
