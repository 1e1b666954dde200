// Data-parallel ranks that share a host.

/** Said to whoever names the port of a process that dispatches to ranks. */
export const OWN_PORT_NOTE =
  "Relays reach every port: they send to the chosen rank's own one, and say which it is in " +
  "x-data-parallel-host-port. primaryPort is where gateways would send that reach no other.";
