# SPDX-License-Identifier: Apache-2.0
"""Experiments on the recipe of the training; nothing imports them, and they are not shipped."""
