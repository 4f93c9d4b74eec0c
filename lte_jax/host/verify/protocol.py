"""The control messages between the pool and its zygote: fixed sizes, one reply for each request."""

import struct

REQUEST = struct.Struct("!cq")  # b"F" fork (the worker's socket is passed along) or b"K" kill; the pid
REPLY = struct.Struct("!q")  # the pid; the zygote's own once it is ready; below 0, minus the bytes of a reason
MAX_REASON = 500  # bytes
