// What a client reads of a chat completion's event stream.

interface ChatEvent {
  readonly choices?: readonly { readonly delta: { readonly content?: string } }[];
  readonly error?: { readonly code: string; readonly request_id: string };
}

/** The events with data, without `[DONE]`. */
export function eventsOf({ text }: { readonly text: string }): ChatEvent[] {
  return text
    .split("\n\n")
    .filter((event) => event.startsWith("data: {"))
    .map((event) => JSON.parse(event.slice("data: ".length)) as ChatEvent);
}

/** The pieces of the answer, in order; empty ones are left out. */
export function contentsOf(stream: { readonly text: string }): string[] {
  return eventsOf(stream)
    .map((event) => event.choices?.[0]?.delta.content ?? "")
    .filter((content) => content !== "");
}
