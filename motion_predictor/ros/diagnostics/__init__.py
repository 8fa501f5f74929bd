# SPDX-License-Identifier: Apache-2.0
"""The node's reports on itself: counters, rates, latencies, and complaints in words."""
