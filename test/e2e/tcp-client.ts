// An HTTP client whose socket a test may close as it likes.

import { connect, type Socket } from "node:net";
import type { Fairlead } from "./harness.ts";

export interface TcpClient {
  readonly socket: Socket;
  readonly received: () => string;
  readonly leave: (how: "FIN" | "RST") => void;
}

/** Sends a request for a long answer. */
export function openClient(
  up: Pick<Fairlead, "url" | "key" | "model">,
  options: { readonly isStream: boolean },
): TcpClient {
  const { hostname, port } = new URL(up.url);
  const body = JSON.stringify({
    model: up.model,
    messages: [{ role: "user", content: "Tell me a long story." }],
    max_tokens: 500,
    ignore_eos: true,
    ...(options.isStream ? { stream: true } : {}),
  });
  const socket = connect({ host: hostname, port: Number(port) });
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  socket.on("error", () => undefined);
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: ${hostname}\r\nauthorization: Bearer ${up.key}\r\n` +
      `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
  return {
    socket,
    received: () => text,
    leave: (how) => void (how === "FIN" ? socket.end() : socket.resetAndDestroy()),
  };
}
