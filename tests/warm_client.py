"""Ask a ``warm_server`` to run a command here, and end as that ends. Of the standard library only what is built in.

``python -IS warm_client.py SOCKET PROGRAM ARGUMENT…``: SIGINT and SIGTERM are handed on; if this ends, so does that.
"""

import _signal as signal  # type: ignore[import-not-found]
import _socket as socket
import marshal
import posix
import sys

decoded = {
    name.decode(errors="surrogateescape"): value.decode(errors="surrogateescape")
    for name, value in posix.environ.items()
}
order = marshal.dumps((sys.argv[2:], posix.getcwd(), decoded))
call = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
call.connect(sys.argv[1])
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in range(3))
call.sendmsg([b"%08d" % len(order)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
call.sendall(order)

told = b""
while b"\n" not in told and (more := call.recv(64)):
    told += more
pid = int(told.partition(b"\n")[0])
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda what, frame: posix.kill(pid, what))
while told.count(b"\n") < 2 and (more := call.recv(64)):
    told += more
code = int(told.split()[1])
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    posix.kill(posix.getpid(), -code)
posix._exit(code)
