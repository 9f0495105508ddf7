"""The judge among the scorers: what it is asked, where it runs, and how its answers are read (docs/protocol.md 4.4)."""
