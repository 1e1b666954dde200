// The least a proxy in Node can do for a request: undici asks, Node's server answers. It checks nothing,
// counts nothing and reports to nobody. Run as a process: pass-through.ts HOST:PORT.

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream/promises";
import { Pool } from "undici";

/** Those of a connection are its own. */
const HOP_HEADERS: ReadonlySet<string> = new Set(["connection", "host", "transfer-encoding"]);

const pool = new Pool(`http://${process.argv[2]!}`, { headersTimeout: 0, bodyTimeout: 0 });

async function pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const answer = await pool.request({
    method: request.method as "POST",
    path: request.url!,
    headers: withoutHop(request.headers),
    body: request,
  });
  response.writeHead(answer.statusCode, withoutHop(answer.headers));
  await pipeline(answer.body, response);
}

function withoutHop<T>(headers: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_HEADERS.has(name)));
}

const server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
  pass(request, response).catch(() => response.destroy());
});
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  process.stdout.write(`${JSON.stringify({ port })}\n`);
});
process.stdin.on("end", () => process.exit(0)).resume();
