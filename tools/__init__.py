# SPDX-License-Identifier: Apache-2.0
"""Programs for the people who build the package: demo, robustness, measurements, the site."""
