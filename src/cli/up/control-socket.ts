// Where a run is asked to disturb its own processes: HTTP at a unix socket in the run's private folder, so
// only who may signal the processes anyway can ask.
//
//   GET  /processes   what each does: starting, ready, frozen, held
//   POST /processes   a Disturbance

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { once } from "node:events";
import type { Disturbances } from "./disturbances.ts";

const BODY_BYTES_MAX = 64 * 1024;
const CONNECTIONS_MAX = 16;

export interface ControlSocket {
  close(): void;
}

export async function openControlSocket(
  path: string,
  disturbances: Disturbances,
): Promise<ControlSocket> {
  const server = createServer((request, response) => {
    void answer(disturbances, request, response);
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.listen(path);
  await once(server, "listening");
  return {
    close() {
      disturbances.close();
      server.close();
      server.closeAllConnections();
    },
  };
}

async function answer(
  disturbances: Disturbances,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const send = (status: number, body: unknown) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(`${JSON.stringify(body)}\n`);
  };
  if (request.url !== "/processes") return send(404, { error: "try /processes" });
  if (request.method === "GET") return send(200, disturbances.conditions());
  if (request.method !== "POST") return send(405, { error: "GET or POST" });
  const done = disturbances.apply(await readJson(request));
  return done.ok ? send(200, done.value) : send(400, { error: done.message });
}

/** undefined where it is not JSON, too long, or its sender has left. */
async function readJson(request: IncomingMessage): Promise<unknown> {
  let text = "";
  try {
    for await (const chunk of request.setEncoding("utf8")) {
      text += String(chunk);
      if (text.length > BODY_BYTES_MAX) return undefined;
    }
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
