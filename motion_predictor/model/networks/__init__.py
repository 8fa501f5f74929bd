# SPDX-License-Identifier: Apache-2.0
"""The networks: from a condition to futures or to a mixture of experts."""
