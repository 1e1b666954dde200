// Waiting for a call to an object, for a while, and while the client is there. The runtime cancels no
// call, so what is answered afterwards has to be taken all the same: it may hold something.

export interface Patience<Value> {
  readonly deadlineMs: number;
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
  /** Takes an answer that nobody waits for any more. */
  readonly late: (value: Value) => void;
}

export type Called<Value> =
  | { readonly how: "answered"; readonly value: Value }
  /** It rejected, or did not answer in time. */
  | { readonly how: "failed"; readonly error: unknown }
  /** The client's doing. */
  | { readonly how: "left" };

/** Never rejects. */
export async function awaitCall<Value>(
  call: Promise<Value>,
  { deadlineMs, signal, late }: Patience<Value>,
): Promise<Called<Value>> {
  const { promise, resolve } = Promise.withResolvers<Called<Value>>();
  let isDecided = false;
  const decide = (called: Called<Value>): boolean => {
    if (isDecided) return false;
    isDecided = true;
    resolve(called);
    return true;
  };
  const leave = () => void decide({ how: "left" });
  const error = new Error(`no answer within ${deadlineMs} ms`);
  const timer = setTimeout(() => decide({ how: "failed", error }), deadlineMs);
  signal.addEventListener("abort", leave);
  if (signal.aborted) leave();
  call.then(
    (value) => {
      if (!decide({ how: "answered", value })) late(value);
    },
    (failure: unknown) => void decide({ how: "failed", error: failure }),
  );
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", leave);
  }
}

/** Waits for `ms`. False: the client has left meanwhile. */
export async function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(true), ms);
  const leave = () => resolve(false);
  signal.addEventListener("abort", leave);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", leave);
  }
}
