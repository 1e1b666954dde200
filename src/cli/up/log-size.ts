// Bounds the logs of a run. Processes append to their files themselves, so a file that has grown too
// large is copied to NAME.log.1 and emptied; lines written in between are lost.

import { copyFile, stat, truncate } from "node:fs/promises";

export const LOG_BYTES_MAX = 64 * 1024 * 1024;
const CHECK_INTERVAL_MS = 10_000;

/** Watches until the process ends. `files` is asked each time. */
export function watchLogSizes(files: () => readonly string[]): void {
  const check = async () => {
    for (const file of files()) await boundLog(file, LOG_BYTES_MAX);
  };
  const schedule = () =>
    setTimeout(() => {
      void check().finally(schedule);
    }, CHECK_INTERVAL_MS).unref();
  schedule();
}

/** Empties `file` if it is larger than `bytesMax`, keeping one copy. */
export async function boundLog(file: string, bytesMax: number): Promise<void> {
  try {
    const { size } = await stat(file);
    if (size <= bytesMax) return;
    await copyFile(file, `${file}.1`);
    await truncate(file);
  } catch {
    // Removed by hand, or the disk is full: logging must not end the run.
  }
}
