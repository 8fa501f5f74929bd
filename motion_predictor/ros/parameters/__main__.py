# SPDX-License-Identifier: Apache-2.0
"""Print the table of all parameters: ``python -m motion_predictor.ros.parameters``."""

from motion_predictor.ros.parameters import markdown_table


def main() -> None:
    """Print the table."""
    print(markdown_table())


if __name__ == '__main__':
    main()
