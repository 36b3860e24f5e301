"""The program's start: it imports nothing, since every process it spawns for work imports it again."""

from __future__ import annotations


def main() -> int:
    from archiver import cli

    return cli.main()


if __name__ == "__main__":
    raise SystemExit(main())
