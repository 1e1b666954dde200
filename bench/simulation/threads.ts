// Runs jobs over as many threads as there are processors, and gives results in the jobs' order.

import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { Job, JobResult } from "./job.ts";

/** Threads at most; each holds a workload and eight engines, up to some 500 MB. */
const THREADS_MAX = 8;

/** `onResult` is told as results come, in any order. */
export function runJobs(
  jobs: readonly Job[],
  traceFile: string | undefined,
  onResult: (result: JobResult) => void,
): Promise<JobResult[]> {
  const open = () =>
    new Worker(new URL("thread.ts", import.meta.url), { workerData: { traceFile } });
  return runInThreads(jobs, open, onResult);
}

/** The thread answers each job that it is sent with a result. */
export async function runInThreads<Task, Result>(
  tasks: readonly Task[],
  open: () => Worker,
  onResult: (result: Result) => void,
): Promise<Result[]> {
  const results = Array.from<Result>({ length: tasks.length });
  const threadCount = Math.min(THREADS_MAX, availableParallelism(), tasks.length);
  let next = 0;
  const runThread = async (): Promise<void> => {
    const worker = open();
    try {
      while (next < tasks.length) {
        const index = next++;
        const result = await askThread<Task, Result>(worker, tasks[index]!);
        results[index] = result;
        onResult(result);
      }
    } finally {
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: threadCount }, runThread));
  return results;
}

function askThread<Task, Result>(worker: Worker, task: Task): Promise<Result> {
  return new Promise((resolve, reject) => {
    const onMessage = (result: Result): void => {
      worker.off("error", reject);
      resolve(result);
    };
    worker.once("message", onMessage);
    worker.once("error", reject);
    worker.postMessage(task);
  });
}
