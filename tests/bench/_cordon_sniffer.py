"""Says when a node hands a new connection to a pod: run in the node's network, one line a packet.

It listens on the node's ends of the pods' cables, and to what leaves by the node's own, behind address translation: what it sees, kube-proxy has already
steered. A SYN to a pod of another node is seen on both; should it be lost on the way there, the one that is sent again a second later goes where
kube-proxy steered the first. Times are the kernel's, told in CLOCK_MONOTONIC, which all containers of a machine share.

Lines: `S`, `A` or `R` (SYN to a pod; SYN-ACK or RST from it), time, client, client's port, pod, pod's port. `L`, time, count: so many packets were
not seen, since this process was away for longer than its buffer lasts.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
import time

ALL_PROTOCOLS, OUTGOING, TIMESTAMP = 3, 4, 35
SYN, RST, ACK = 0x02, 0x04, 0x10
PACKET, STATISTICS, RECEIVE_BUFFER_FORCE = 263, 6, 33
BUFFER_BYTES = 32 * 1024 * 1024
"""Of the kernel's; the usual one holds some 200 packets, which are half a second."""
UPLINK, LOOPBACK = "eth", "lo"
# TCP (protocol 6) with SYN or RST; 128 bytes of it. Classic BPF: code, jump if true, jump if false, operand.
FILTER = (
    (0x30, 0, 0, 9),
    (0x15, 0, 4, 6),
    (0xB1, 0, 0, 0),
    (0x50, 0, 0, 13),
    (0x45, 0, 1, SYN | RST),
    (0x06, 0, 0, 128),
    (0x06, 0, 0, 0),
)


def main() -> None:
    """Arguments: the first and the last of the pods' ports."""
    first, last = int(sys.argv[1]), int(sys.argv[2])
    with _tap() as tap:
        print("listening", flush=True)
        while True:
            packet, control, _, (interface, _, kind, *_) = tap.recvmsg(128, 64)
            outgoing = kind == OUTGOING
            if not interface.startswith(LOOPBACK) and (outgoing or not interface.startswith(UPLINK)):
                line = _line(packet, outgoing, range(first, last + 1))
                if line:
                    print(line.format(time=_monotonic(control)), flush=True)
                if lost := _lost(tap):
                    print(f"L {time.monotonic():.6f} {lost}", flush=True)


def _tap() -> socket.socket:
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ALL_PROTOCOLS))
    program = b"".join(struct.pack("HBBI", *each) for each in FILTER)
    buffer = ctypes.create_string_buffer(program)
    tap.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", len(FILTER), ctypes.addressof(buffer)))
    tap.setsockopt(socket.SOL_SOCKET, TIMESTAMP, 1)
    tap.setsockopt(socket.SOL_SOCKET, RECEIVE_BUFFER_FORCE, BUFFER_BYTES)
    return tap


def _lost(tap: socket.socket) -> int:
    """Packets since the last call for which there was no room."""
    _, lost = struct.unpack("II", tap.getsockopt(PACKET, STATISTICS, 8))
    return int(lost)


def _line(packet: bytes, to_pod: bool, ports: range) -> str:
    tcp = (packet[0] & 0x0F) * 4
    source, target = (socket.inet_ntoa(packet[at : at + 4]) for at in (12, 16))
    sport, dport = struct.unpack_from("!HH", packet, tcp)
    flags = packet[tcp + 13]
    if to_pod:
        steered = dport in ports and flags & (SYN | ACK | RST) == SYN
        return f"S {{time:.6f}} {source} {sport} {target} {dport}" if steered else ""
    if sport not in ports:
        return ""
    return f"{'R' if flags & RST else 'A'} {{time:.6f}} {target} {dport} {source} {sport}"


def _monotonic(control: list[tuple[int, int, bytes]]) -> float:
    offset = time.monotonic() - time.time()
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, TIMESTAMP):
            seconds, nanoseconds = struct.unpack("ll", data[:16])
            return float(seconds + nanoseconds / 1e9 + offset)
    return time.monotonic()


if __name__ == "__main__":
    main()
