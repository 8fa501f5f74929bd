# SPDX-License-Identifier: Apache-2.0
"""Learning from a place: candidates, memory, gate, evidence and radius."""
