/** Unix time in milliseconds. In production it stands still between I/O: tolerate dt == 0. */
export type Clock = () => number;
