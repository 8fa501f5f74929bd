# SPDX-License-Identifier: Apache-2.0
"""Fuzzing with hostile input: messages, transforms and files."""
