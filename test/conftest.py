"""Shared by all tests: one thread for torch, which small arrays on a busy machine need."""

import torch

torch.set_num_threads(1)
