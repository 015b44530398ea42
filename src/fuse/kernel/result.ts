/** What a handler returns where no reply is to be sent: the kernel expects none, or has it already. */
export const NO_REPLY = Number.NEGATIVE_INFINITY;
