"""On PYTHONPATH before a program: whoever reaches for the network ends the program with code 99."""

import os
import socket


def refuse(*_args, **_more):
    os.write(2, b"the network was used\n")
    os._exit(99)


socket.socket.connect = refuse
socket.socket.connect_ex = refuse
socket.socket.sendto = refuse
socket.getaddrinfo = refuse
socket.gethostbyname = refuse
