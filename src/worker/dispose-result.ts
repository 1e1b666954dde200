// Results of calls to objects have a disposer, also where they hold nothing but data: until it is called the
// runtime keeps what it has of the call, and warns where that is left to the garbage collector.

/** What the result says can be read on. */
export function disposeResult(result: object): void {
  (result as Partial<Disposable>)[Symbol.dispose]?.();
}
