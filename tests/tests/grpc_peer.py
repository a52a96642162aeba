"""A gRPC server and its client without generated code: messages are bytes.

    grpc_peer.py serve HOST:PORT
    grpc_peer.py call HOST:PORT     prints one line per kind of call that worked
"""

import sys
import threading
from concurrent import futures

import grpc


def unary(request, context):
    seen = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-initial", seen.get("x-caller", "")),))
    context.set_trailing_metadata((("x-trailing", "end"), ("x-data-bin", b"\x00\xff")))
    return request[::-1]


def fails(request, context):
    context.set_trailing_metadata((("x-trailing", "why"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no, not now: 100 % sure")


def bidi(requests, context):
    for request in requests:
        yield request.upper()


def waits(request, context):
    ended = threading.Event()
    context.add_callback(ended.set)
    ended.wait(30)
    return b""


class Peer(grpc.GenericRpcHandler):
    def service(self, call):
        return {
            "/tests.Peer/Unary": grpc.unary_unary_rpc_method_handler(unary),
            "/tests.Peer/Fails": grpc.unary_unary_rpc_method_handler(fails),
            "/tests.Peer/Bidi": grpc.stream_stream_rpc_method_handler(bidi),
            "/tests.Peer/Waits": grpc.unary_unary_rpc_method_handler(waits),
        }.get(call.method)


def serve(address):
    server = grpc.server(futures.ThreadPoolExecutor(16), handlers=(Peer(),), options=SIZES)
    if server.add_insecure_port(address) == 0:
        raise SystemExit(f"{address} cannot be bound")
    server.start()
    server.wait_for_termination()


def call(address):
    channel = grpc.insecure_channel(address, options=SIZES)
    message = bytes(range(256)) * 20000
    answer, done = channel.unary_unary("/tests.Peer/Unary").with_call(message, metadata=(("x-caller", "me"),), timeout=30)
    assert answer == message[::-1]
    assert dict(done.initial_metadata())["x-initial"] == "me", done.initial_metadata()
    trailing = dict(done.trailing_metadata())
    assert trailing["x-trailing"] == "end" and trailing["x-data-bin"] == b"\x00\xff", trailing
    print("unary ok")

    try:
        channel.unary_unary("/tests.Peer/Fails")(b"x", timeout=30)
        raise SystemExit("Fails did not fail")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
        assert error.details() == "no, not now: 100 % sure", error
        assert dict(error.trailing_metadata())["x-trailing"] == "why", error
    print("status ok")

    # The next message is sent when the answer to the last one is there: both directions must flow at once.
    turns, may_send = 500, threading.Semaphore(1)

    def requests():
        for number in range(turns):
            assert may_send.acquire(timeout=30)
            yield b"message %d" % number

    count = 0
    for answer in channel.stream_stream("/tests.Peer/Bidi")(requests(), timeout=60):
        assert answer == b"MESSAGE %d" % count, answer
        count += 1
        may_send.release()
    print("bidi ok", count)

    try:
        channel.unary_unary("/tests.Peer/Waits")(b"x", timeout=0.3)
        raise SystemExit("Waits did not wait")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
    print("deadline ok")


SIZES = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]

if __name__ == "__main__":
    {"serve": serve, "call": call}[sys.argv[1]](sys.argv[2])
