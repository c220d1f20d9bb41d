"""The local stack of `enroll up`: supervisor, embedded Redis."""
