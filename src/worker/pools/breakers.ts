import { Breakers } from "../../scheduler/pools/breakers.ts";

/**
 * Of this isolate: by pools' names, relays' URLs and endpoints' addresses, which cannot be mistaken for
 * one another. Dispatching tells it how attempts ended; the choice among pools reads it.
 */
export const breakers = new Breakers();
