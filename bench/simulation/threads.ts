// Runs jobs over as many threads as there are processors, and gives results in the jobs' order.

import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { Job, JobResult } from "./job.ts";

/** Threads at most; each holds a workload and eight engines, up to some 500 MB. */
const THREADS_MAX = 8;

/** `onResult` is told as results come, in any order. */
export async function runJobs(
  jobs: readonly Job[],
  traceFile: string | undefined,
  onResult: (result: JobResult) => void,
): Promise<JobResult[]> {
  const results = Array.from<JobResult>({ length: jobs.length });
  const threadCount = Math.min(THREADS_MAX, availableParallelism(), jobs.length);
  let next = 0;
  const runThread = async (): Promise<void> => {
    const worker = new Worker(new URL("thread.ts", import.meta.url), { workerData: { traceFile } });
    try {
      while (next < jobs.length) {
        const index = next++;
        results[index] = await askThread(worker, jobs[index]!);
        onResult(results[index]);
      }
    } finally {
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: threadCount }, runThread));
  return results;
}

function askThread(worker: Worker, job: Job): Promise<JobResult> {
  return new Promise((resolve, reject) => {
    const onMessage = (result: JobResult): void => {
      worker.off("error", reject);
      resolve(result);
    };
    worker.once("message", onMessage);
    worker.once("error", reject);
    worker.postMessage(job);
  });
}
