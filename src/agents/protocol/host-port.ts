import { z } from "zod";

/** `host:port`, the form of x-gateway-destination-endpoint. IPv6 hosts stand in brackets. */
export const HOST_PORT = /^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$/;

export const hostPortSchema = z.string().regex(HOST_PORT, "expected host:port");
