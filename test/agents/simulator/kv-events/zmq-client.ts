// Real sockets that listen to a publisher, as a collector would.

import { onTestFinished } from "vitest";
import { Dealer, Subscriber } from "zeromq";

export interface Message {
  topic: string;
  sequence: number;
  payload: Buffer;
}

const NOTHING = Buffer.alloc(0);
const REPLAY_MS_MAX = 4_000;

/** Collects what one subscriber gets, connected to `endpoint` or, without one, bound to any port. */
export async function subscribe(endpoint?: string) {
  const socket = new Subscriber({ linger: 0 });
  onTestFinished(() => socket.close());
  socket.subscribe("");
  if (endpoint === undefined) await socket.bind("tcp://127.0.0.1:*");
  else socket.connect(dialable(endpoint));
  const messages: Message[] = [];
  void (async () => {
    for await (const [topic, sequence, payload, ...more] of socket) {
      if (more.length > 0 || sequence!.length !== 8) throw new Error("not a message of events");
      messages.push({
        topic: topic!.toString(),
        sequence: Number(sequence!.readBigUInt64BE()),
        payload: payload!,
      });
    }
  })();
  return { messages, endpoint: socket.lastEndpoint! };
}

/** Asks for what was published from `first` on. Gives the frames as a DEALER sees them. */
export async function replay(endpoint: string, first: number): Promise<Buffer[][]> {
  const socket = new Dealer({ linger: 0, receiveTimeout: REPLAY_MS_MAX });
  try {
    socket.connect(dialable(endpoint));
    const start = Buffer.alloc(8);
    start.writeBigUInt64BE(BigInt(first));
    await socket.send([NOTHING, start]);
    const replies: Buffer[][] = [];
    for (;;) {
      const frames = await socket.receive();
      replies.push(frames);
      if (frames.some((frame) => frame.equals(Buffer.alloc(8, 0xff)))) return replies;
    }
  } finally {
    socket.close();
  }
}

/** What a replay in the form of current vLLM brought, without its end. */
export async function replayed(endpoint: string, first: number): Promise<Message[]> {
  const replies = await replay(endpoint, first);
  return replies.slice(0, -1).map(([, topic, sequence, payload]) => ({
    topic: topic!.toString(),
    sequence: Number(sequence!.readBigUInt64BE()),
    payload: payload!,
  }));
}

/** A bound address may name all interfaces. */
function dialable(endpoint: string): string {
  return endpoint.replace("0.0.0.0", "127.0.0.1");
}
