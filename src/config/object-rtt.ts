// A time that is added to calls from the Worker to pools' objects, as if they were that far away: for
// benchmarks, and for trying things out on one machine. `fairlead up --object-rtt-ms` sets it, nothing else does.

/** The Worker's binding: a whole number of milliseconds. Absent: none. */
export const OBJECT_RTT_BINDING = "OBJECT_RTT_MS";
export const OBJECT_RTT_MS_MAX = 1_000;

/** Of this Worker; 0 where nothing is added. */
export function objectRttMs(env: object): number {
  const value: unknown = Reflect.get(env, OBJECT_RTT_BINDING);
  if (typeof value !== "number" || !(value > 0)) return 0;
  return Math.min(OBJECT_RTT_MS_MAX, value);
}
