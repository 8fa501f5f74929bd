"""What every test starts with."""

import signal

import torch

torch.set_num_threads(1)
# Begun in a shell's background, pytest ignores SIGINT and the processes it starts would too.
signal.signal(signal.SIGINT, signal.default_int_handler)
