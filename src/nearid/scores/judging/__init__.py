"""The VLM judge: its prompt, where it runs, and how its answers are parsed (docs/protocol.md 4.4)."""
