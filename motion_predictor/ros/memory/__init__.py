# SPDX-License-Identifier: Apache-2.0
"""The memory of the node's place beyond one run, and the services that control it."""
