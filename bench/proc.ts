// What Linux says of a process: processor time and memory. All of /proc's figures used here are the
// same on every Linux; other systems have no /proc.

import { readdirSync, readFileSync } from "node:fs";

/** USER_HZ, fixed in the kernel's interface. */
const TICKS_PER_SECOND = 100;
const NS_PER_MS = 1e6;

/** Why a benchmark that reads /proc cannot run here; undefined where it can. */
export function missingProc(): string | undefined {
  if (process.platform === "linux") return undefined;
  return `reads workerd's figures from /proc, which only Linux has (this is ${process.platform})`;
}

/** Processor time of `pids` since their start, in user and kernel mode. */
export function cpuMs(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + Math.max(tickMs(pid), threadMs(pid)), 0);
}

/** Includes threads that have ended, but counts in whole ticks of 10 ms. */
function tickMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The second field is a name in parentheses, which may hold spaces; the third follows it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS_PER_SECOND;
}

/** Counts nanoseconds, but only of the threads there are now. */
function threadMs(pid: number): number {
  let ns = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
    } catch {
      // The thread has ended since the listing, or the kernel keeps no such statistics.
    }
  }
  return ns / NS_PER_MS;
}

/** File descriptors that this process and those it starts may have open at once. */
export function openFilesMax(): number {
  const limits = readFileSync("/proc/self/limits", "utf8");
  return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Infinity);
}

/** Memory of `pids` that is in RAM, pages shared with others included. */
export function residentBytes(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return sum + Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) * 1_024;
  }, 0);
}
