# SPDX-License-Identifier: Apache-2.0
"""The parts that tuning and ablations share."""
