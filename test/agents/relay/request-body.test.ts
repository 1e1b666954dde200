import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { connect } from "node:net";
import { expect, it, onTestFinished } from "vitest";
import { readBody, type ReadBody } from "../../../src/agents/relay/request-body.ts";
import { closeServer, listen } from "../../../src/agents/process/listen.ts";

const BYTES_MAX = 64;

/** What a server reads whose client writes `parts` and then, with `leaves`, is gone. */
async function readOf(announced: number, parts: string[], leaves = false): Promise<ReadBody> {
  const read = Promise.withResolvers<ReadBody>();
  const server = createServer((request, response) => {
    void readBody(request, BYTES_MAX).then((body) => {
      read.resolve(body);
      response.end();
    });
  });
  const port = await listen(server, { host: "127.0.0.1", port: 0 });
  const socket = connect({ host: "127.0.0.1", port });
  onTestFinished(async () => {
    socket.destroy();
    server.closeAllConnections();
    await closeServer(server);
  });
  socket.on("error", () => undefined);
  socket.write(`POST / HTTP/1.1\r\nhost: x\r\ncontent-length: ${announced}\r\n\r\n`);
  for (const part of parts) {
    await new Promise((written) => socket.write(part, written));
    await new Promise((later) => setTimeout(later, 20));
  }
  if (leaves) socket.destroy();
  return read.promise;
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

it.each([[["one"]], [["on", "e ", "two"]], [["x".repeat(BYTES_MAX)]], [[]]])(
  "reads %j with its hash",
  async (parts) => {
    const text = parts.join("");
    const body = await readOf(text.length, parts);
    expect(body).toEqual({ ok: true, bytes: Buffer.from(text), sha256: sha256(text) });
  },
);

it("stops at a byte too many", async () => {
  const body = await readOf(BYTES_MAX + 1, ["x".repeat(BYTES_MAX), "y"]);
  expect(body).toEqual({ ok: false, reason: "too-large" });
});

it("says that a client has gone before its last byte", async () => {
  const body = await readOf(10, ["half"], true);
  expect(body).toEqual({ ok: false, reason: "cancelled" });
});
