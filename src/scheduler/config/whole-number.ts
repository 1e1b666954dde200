import { z } from "zod";

/**
 * A whole number in a document of which every mistake is told. A fraction ends zod's own `z.int()` and
 * with it each later check of all that it stands in; this one is a mistake beside the others.
 */
export function wholeNumber(min: number, max: number) {
  return z.number().min(min).max(max).refine(Number.isInteger, "expected a whole number");
}
