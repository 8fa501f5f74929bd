# SPDX-License-Identifier: Apache-2.0
"""Identity: the bodies that are followed, and the body of each sighting, whatever its id."""
