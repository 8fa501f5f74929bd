# SPDX-License-Identifier: Apache-2.0
"""The memory of a place: what people did here, found again when somebody begins the same."""
